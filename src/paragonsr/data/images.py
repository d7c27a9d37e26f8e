"""Reading and writing image files; the one place that knows how a file becomes height x width x 3 uint8 RGB."""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageFile

from paragonsr.data.resize import Image
from paragonsr.errors import UserError
from paragonsr.files import write_atomically

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
"""Endings of image files, in lower case."""

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error, MemoryError)
"""What Pillow raises on damaged files."""


def read_image(path: str | Path) -> Image:
    """Decode an image file.

    Grey images get three equal channels. Alpha is dropped, not composited: the stored colours are what is trained on.
    16-bit samples v become round(v / 257). Palettes are resolved, CMYK is converted without a colour profile. EXIF
    orientation and embedded colour profiles are ignored: pixels are taken as stored, so that HR and LR files that
    carry different EXIF data still match. Of several frames or pages the first is read.

    Returns:
        height x width x 3 uint8 RGB.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    try:
        with PillowImage.open(path) as file:
            return _decode(file, Path(path))
    except PillowImage.DecompressionBombError as error:
        raise _too_large(path) from error
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width from the file's header, without decoding.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    try:
        with PillowImage.open(path) as file:
            return file.height, file.width
    except PillowImage.DecompressionBombError as error:
        raise _too_large(path) from error
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def write_png(path: str | Path, image: Image) -> None:
    """Write a PNG, whole or not at all.

    Folders on the way are made.

    Args:
        path: where to.
        image: height x width x 3 uint8 RGB, or height x width grey.

    Raises:
        UserError: the place cannot be written to.
    """
    path = Path(path)
    content = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(image)).save(content, format="PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", where=str(path)) from error


def _decode(file: ImageFile.ImageFile, path: Path) -> Image:
    if _is_16_bit_colour(file):
        high, low = _bytes_of_16_bit(file, path)
        return _to_8_bit(_joined(high, low))
    if _raw_mode(file) == "LA;16B":
        # Pillow opens it as RGBA and keeps the high bytes; the four bytes of a pixel fill the four channels.
        grey = _decoded_as("RGBA", path)
        return _three_channels(_to_8_bit(_joined(grey[..., 0], grey[..., 1])))
    if file.mode.startswith("I;16"):
        return _three_channels(_to_8_bit(np.asarray(file).astype(np.uint32)))
    if file.mode in ("I", "F"):
        raise ValueError("32-bit samples are not supported; save it with 8 or 16 bits")
    if "transparency" in file.info and file.mode == "P":
        file = file.convert("RGBA")  # type: ignore[assignment]
    return np.asarray(file.convert("RGB"))


def _three_channels(grey: Image) -> Image:
    return np.ascontiguousarray(np.broadcast_to(grey[..., None], (*grey.shape, 3)))


def _joined(high: Image, low: Image) -> NDArray[np.uint32]:
    return high.astype(np.uint32) * np.uint32(256) + low


def _to_8_bit(samples: NDArray[np.uint32]) -> Image:
    return ((samples + 128) // 257).astype(np.uint8)


def _raw_mode(file: ImageFile.ImageFile) -> str:
    """Pillow's name of the layout of the stored samples."""
    arguments = file.tile[0].args if file.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _is_16_bit_colour(file: ImageFile.ImageFile) -> bool:
    return _raw_mode(file) in {f"{mode};16{order}" for mode in ("RGB", "RGBA") for order in "BLN"}


def _bytes_of_16_bit(file: ImageFile.ImageFile, path: Path) -> tuple[Image, Image]:
    """High and low bytes of 16-bit colour samples.

    Pillow keeps only the high byte. Told that the samples have the other byte order, it keeps the low one.
    """
    mode, _, order = _raw_mode(file).partition(";16")
    if order == "N":
        order = "L" if sys.byteorder == "little" else "B"
    high = np.asarray(file.convert("RGB"))
    low = _decoded_as(f"{mode};16{'L' if order == 'B' else 'B'}", path)[..., :3]
    return high, low


def _decoded_as(raw_mode: str, path: Path) -> Image:
    """The samples that come out if the stored bytes are said to have another layout of as many bytes a pixel."""
    with PillowImage.open(path) as again:
        again.tile = [
            tile._replace(args=(raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode)
            for tile in again.tile
        ]
        return np.asarray(again)


def _too_large(path: str | Path) -> UserError:
    limit = 2 * (PillowImage.MAX_IMAGE_PIXELS or 0) // 10**6
    return UserError(f"has more than {limit} million pixels", where=str(path), fix="Cut it into tiles first.")


def _unreadable(path: str | Path, error: BaseException) -> UserError:
    path = Path(path)
    if isinstance(error, FileNotFoundError):
        return UserError("does not exist", where=str(path))
    if isinstance(error, PermissionError):
        return UserError("cannot be read (no permission)", where=str(path))
    try:
        empty = path.stat().st_size == 0
    except OSError:
        empty = False
    if empty:
        reason = "is empty (0 bytes)"
    elif isinstance(error, PillowImage.UnidentifiedImageError):
        reason = "is not an image, or its header is damaged"
    else:
        reason = f"cannot be decoded: {error}"
    return UserError(reason, where=str(path), fix="Replace the file or remove it.")
