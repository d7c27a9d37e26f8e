"""Image files for upscaling: 8 or 16 bits, greyscale or colour, with alpha, of any size.

libvips reads and writes them. Decoded images of more than 100 MB are kept in a temporary file, not in memory, and read
tile by tile.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paragonsr.data.image_file import ICC, open_image, said, unreadable
from paragonsr.errors import UserError
from paragonsr.files import replacing

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

FORMATS = {
    **{".png": "png", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff"},
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "jpeg"),
}
"""Extension of an output file, in lower case -> libvips' name of the format."""
EIGHT_BITS = frozenset({"jpeg", "webp"})
"""Formats without 16-bit samples."""
LARGEST_SIDE = {"jpeg": 65500, "webp": 16383}
QUALITY = 95
"""Quality of JPEG and WebP; high, so that compression does not spoil the result."""
_DEPTH: dict[str, type[np.uint8] | type[np.uint16]] = {"uchar": np.uint8, "ushort": np.uint16}
_COLOURS = {(1, np.uint8): "b-w", (3, np.uint8): "srgb", (1, np.uint16): "grey16", (3, np.uint16): "rgb16"}


@dataclass(frozen=True)
class Picture:
    """Opened image file; its pixels are decoded on first use.

    The EXIF orientation is applied, palettes are resolved, and CMYK is converted to sRGB. Only the first of several
    frames or pages is used.
    """

    path: Path
    image: Any
    """pyvips.Image"""

    @classmethod
    def open(cls, path: Path) -> "Picture":
        """Read the header.

        Raises:
            UserError: the file cannot be used; the message says why.
        """
        image = open_image(path)
        colours = image.bands - int(image.hasalpha())
        if image.format not in _DEPTH or colours not in (1, 3):
            raise UserError(
                f"has {colours} colour channels of type {image.format}; only grey or RGB of 8 or 16 bits is supported",
                where=str(path),
                fix="Convert it, or remove it.",
            )
        return cls(path, image)

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.image.height)

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.image.width)

    @property
    def channels(self) -> int:
        """Number of channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha."""
        return int(self.image.bands)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """uint8 or uint16."""
        return _DEPTH[self.image.format]

    @cached_property
    def pixels(self) -> Pixels:
        """All pixels: height x width x channels."""
        return self.read(slice(0, self.height), slice(0, self.width))

    def read(self, rows: slice, columns: slice) -> Pixels:
        """Read a part: rows x columns x channels.

        Raises:
            UserError: the file is damaged.
        """
        import pyvips

        top, left = rows.start, columns.start
        try:
            part = self.image.crop(left, top, columns.stop - left, rows.stop - top).numpy()
        except pyvips.Error as error:
            raise unreadable(self.path, error) from error
        return np.asarray(part).reshape(rows.stop - top, columns.stop - left, self.channels)

    def check_target(self, target: Path, scale: int) -> None:
        """Refuse an image that the target format cannot hold, before anything is computed.

        Raises:
            UserError: the format has no alpha channel, or a side is too long for it.
        """
        name = FORMATS[target.suffix.lower()]
        longest, side = LARGEST_SIDE.get(name), max(self.height, self.width) * scale
        if longest is not None and side > longest:
            raise UserError(
                f"would be {side} pixels long, but {name} allows {longest}: use --format png", where=str(self.path)
            )
        if name == "jpeg" and self.channels in (2, 4):
            raise UserError("has an alpha channel, which JPEG does not support: use --format png", where=str(self.path))

    def dtype_in(self, target: Path) -> type[np.uint8] | type[np.uint16]:
        """Sample type in the target file: the same as here, but uint8 if the format has only 8 bits."""
        return np.uint8 if FORMATS[target.suffix.lower()] in EIGHT_BITS else self.dtype

    def save(self, pixels: Pixels, target: Path) -> None:
        """Write an image made from this picture, with its colour profile, atomically.

        Args:
            pixels: height x width x channels, with the same number of channels.
            target: its extension selects the format: PNG (lossless), TIFF (lossless, deflate), JPEG (95, no chroma
                subsampling), WebP (95).

        Raises:
            UserError: the file cannot be written.
        """
        import pyvips

        colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))
        image = pyvips.Image.new_from_array(pixels)
        image = image.copy(interpretation=_COLOURS[colours, pixels.dtype.type])
        if self.image.get_typeof(ICC):
            image.set_type(pyvips.GValue.blob_type, ICC, self.image.get(ICC))
        name = FORMATS[target.suffix.lower()]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as temporary:
                _WRITERS[name](image, str(temporary))
        except (OSError, pyvips.Error) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else said(error)
            raise UserError(f"cannot be written: {why}", where=str(target)) from error


_WRITERS = {
    # Level 1 with a filter gives smaller files than level 6 without, in a fraction of the time.
    "png": lambda image, path: image.pngsave(path, compression=1, filter="sub", keep="icc"),
    "tiff": lambda image, path: image.tiffsave(path, compression="deflate", predictor="horizontal", keep="icc"),
    "jpeg": lambda image, path: image.jpegsave(path, Q=QUALITY, subsample_mode="off", keep="icc"),
    "webp": lambda image, path: image.webpsave(path, Q=QUALITY, keep="icc"),
}
