"""Images to and from the browser: decoded as everywhere in this package, encoded in the format that is asked for."""

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from paragonsr.data.images import image_size, read_image
from paragonsr.errors import UserError

FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("image/png", {"format": "PNG", "compress_level": 3}),
    "webp": ("image/webp", {"format": "WEBP", "quality": 92, "method": 4}),
    "jpeg": ("image/jpeg", {"format": "JPEG", "quality": 95, "subsampling": 0}),
    "tiff": ("image/tiff", {"format": "TIFF", "compression": "tiff_deflate"}),
    "bmp": ("image/bmp", {"format": "BMP"}),
    "avif": ("image/avif", {"format": "AVIF", "quality": 90}),
}
"""Name of a format -> its type in HTTP, and Pillow's options."""


class TooLargeError(Exception):
    """An image with more pixels than the server accepts."""


def decoded(upload: bytes, pixels: int) -> np.ndarray:
    """Image of an uploaded file: h x w x 3 uint8 RGB, upright.

    Args:
        upload: content of the file, in any format that training reads.
        pixels: largest number of pixels.

    Raises:
        UserError: it is no image; without the path of a temporary file.
        TooLargeError: it has too many pixels.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload"  # no extension: the decoder is chosen by content
        path.write_bytes(upload)
        try:
            height, width = image_size(path)
            if height * width > pixels:
                raise TooLargeError(
                    f"the image has {height * width / 1e6:.1f} million pixels; "
                    f"the limit here is {pixels / 1e6:g} million; `paragonsr upscale` has no limit"
                )
            return read_image(path)
        except UserError as error:
            raise UserError(f"the upload {error.what}") from error


def encoded(image: np.ndarray, name: str = "png") -> bytes:
    """Content of an image file.

    Args:
        image: h x w x 3 uint8 RGB.
        name: a key of FORMATS.
    """
    content = io.BytesIO()
    Image.fromarray(image).save(content, **FORMATS[name][1])
    return content.getvalue()


def converted(png: bytes, name: str) -> bytes:
    """The PNG that the page holds, in another format.

    Raises:
        UserError: the format is unknown, this installation lacks it, or the content is no PNG.
    """
    if name not in FORMATS:
        raise UserError(f"unknown format {name}")
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as file:
            return encoded(np.asarray(file.convert("RGB")), name)
    except UnidentifiedImageError as error:
        raise UserError("the upload is no PNG") from error
    except (KeyError, OSError) as error:
        raise UserError(f"this installation cannot write {name}: {error}") from error
