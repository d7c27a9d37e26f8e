"""Reading and writing of images as height x width x 3 uint8 RGB; files are opened by `image_file`."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from paragonsr.data.image_file import open_image, unreadable
from paragonsr.errors import UserError
from paragonsr.files import write_atomically
from paragonsr.resize import Image

MOST_PIXELS = 180_000_000
"""Maximum number of pixels of an image that is read as a whole."""


def read_image(path: str | Path) -> Image:
    """Decode an image file.

    Greyscale images get three equal channels. Alpha is dropped, not composited: training uses the stored colours.
    16-bit samples v become round(v / 257). The EXIF orientation is applied; embedded colour profiles are ignored.

    Returns:
        height x width x 3 uint8 RGB.

    Raises:
        UserError: the file cannot be used; the message says why.
    """
    import pyvips

    path = Path(path)
    image = open_image(path)
    if image.width * image.height > MOST_PIXELS:
        raise UserError(
            f"has more than {MOST_PIXELS // 10**6} million pixels", where=str(path), fix="Cut it into tiles first."
        )
    try:
        return to_rgb(image.numpy(), path)
    except (pyvips.Error, MemoryError) as error:
        raise unreadable(path, error) from error


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width after the EXIF orientation, read from the file header without decoding.

    Raises:
        UserError: the file cannot be used; the message says why.
    """
    image = open_image(Path(path))
    return int(image.height), int(image.width)


def to_rgb(samples: np.ndarray[Any, Any], path: Path) -> Image:
    """Convert decoded samples to height x width x 3 uint8 RGB.

    Args:
        samples: height x width, or height x width x 1 to 4, uint8 or uint16.
        path: path of the file, for messages.

    Raises:
        UserError: the samples have another type.
    """
    if samples.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"has samples of type {samples.dtype}, which are not supported",
            where=str(path),
            fix="Save it with 8 or 16 bits.",
        )
    if samples.ndim == 2:
        samples = samples[..., None]
    colours = samples[..., :3] if samples.shape[2] >= 3 else samples[..., :1]
    if samples.dtype == np.uint16:
        colours = ((colours.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))


def write_png(path: str | Path, image: Image) -> None:
    """Write a PNG atomically.

    Missing parent folders are created.

    Args:
        path: output file.
        image: height x width x 3 uint8 RGB, or height x width greyscale.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(path)
    content = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(image)).save(content, format="PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", where=str(path)) from error
