"""Image files as upscaling wants them: 8 or 16 bits, grey or colour, alpha kept, of any size.

libvips reads and writes them. A decoded image of more than 100 MB lies in a temporary file, not in memory, and is read
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
"""Ending of a file that is written, in lower case -> what libvips calls the format."""
EIGHT_BITS = frozenset({"jpeg", "webp"})
"""Formats that hold no 16-bit samples."""
LARGEST_SIDE = {"jpeg": 65500, "webp": 16383}
QUALITY = 95
"""Of JPEG and WebP: there is no point in spoiling what was just gained."""
_DEPTH: dict[str, type[np.uint8] | type[np.uint16]] = {"uchar": np.uint8, "ushort": np.uint16}
_COLOURS = {(1, np.uint8): "b-w", (3, np.uint8): "srgb", (1, np.uint16): "grey16", (3, np.uint16): "rgb16"}


@dataclass(frozen=True)
class Picture:
    """An opened image file. Its pixels are decoded when they are first asked for.

    EXIF's orientation has been applied, palettes are resolved, CMYK is sRGB. Of several frames or pages it is the
    first.
    """

    path: Path
    image: Any
    """pyvips.Image"""

    @classmethod
    def open(cls, path: Path) -> "Picture":
        """Read the header.

        Raises:
            UserError: naming the file and what is wrong with it.
        """
        image = open_image(path)
        colours = image.bands - int(image.hasalpha())
        if image.format not in _DEPTH or colours not in (1, 3):
            raise UserError(
                f"has {colours} colour channels of type {image.format}; grey or RGB of 8 or 16 bits can be upscaled",
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
        """1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha."""
        return int(self.image.bands)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """uint8 or uint16."""
        return _DEPTH[self.image.format]

    @cached_property
    def pixels(self) -> Pixels:
        """All of it: height x width x channels."""
        return self.read(slice(0, self.height), slice(0, self.width))

    def read(self, rows: slice, columns: slice) -> Pixels:
        """Part of it: rows x columns x channels.

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
        """Refuse what the format of the target cannot hold, before anything is computed.

        Raises:
            UserError: alpha or a side that is too long for it.
        """
        name = FORMATS[target.suffix.lower()]
        longest, side = LARGEST_SIDE.get(name), max(self.height, self.width) * scale
        if longest is not None and side > longest:
            raise UserError(
                f"would be {side} pixels long, {name} holds {longest}: use --format png", where=str(self.path)
            )
        if name == "jpeg" and self.channels in (2, 4):
            raise UserError("has an alpha channel, JPEG has no alpha channel: use --format png", where=str(self.path))

    def dtype_in(self, target: Path) -> type[np.uint8] | type[np.uint16]:
        """Type of the samples in a file of that name: as here, but 8 bits where the format has no more."""
        return np.uint8 if FORMATS[target.suffix.lower()] in EIGHT_BITS else self.dtype

    def save(self, pixels: Pixels, target: Path) -> None:
        """Write what was made of this picture, with its colour profile, whole or not at all.

        Args:
            pixels: height x width x channels; channels as here.
            target: its ending chooses the format: PNG (lossless), TIFF (lossless, deflate), JPEG (95, no colour
                subsampling), WebP (95).

        Raises:
            UserError: the place cannot be written to.
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
    # Level 1 with a filter is smaller than level 6 without, in a fraction of the time.
    "png": lambda image, path: image.pngsave(path, compression=1, filter="sub", keep="icc"),
    "tiff": lambda image, path: image.tiffsave(path, compression="deflate", predictor="horizontal", keep="icc"),
    "jpeg": lambda image, path: image.jpegsave(path, Q=QUALITY, subsample_mode="off", keep="icc"),
    "webp": lambda image, path: image.webpsave(path, Q=QUALITY, keep="icc"),
}
