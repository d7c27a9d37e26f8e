"""A photograph that is decoded once and handed out in bands, however large it is."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from paragonsr.data.images import image_size, read_image
from paragonsr.data.resize import Image, resize
from paragonsr.errors import UserError

LARGE = 80_000_000
"""Pixels from which a photograph stays in Pillow's memory (4 bytes a pixel) and only bands become arrays."""

_LARGEST = 4_000_000_000
"""Pixels beyond which a file is taken for a decompression bomb."""

_LARGE_MODES = ("L", "RGB", "CMYK")
"""Of which every part can be converted alone and without loss of what the file holds."""

_MARGIN = 4
"""Output rows beyond a band that its own may depend on: the kernel reaches 2, and both ends are rounded."""


def photograph_size(path: Path) -> tuple[int, int]:
    """Height and width from the file's header.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    with _large_ones_allowed():
        return image_size(path)


class Photograph:
    """The decoded pixels of one file.

    Args:
        path: an image file of up to 4 000 million pixels.

    Raises:
        UserError: naming the file and what is wrong with it.
    """

    def __init__(self, path: Path) -> None:
        self.height, self.width = photograph_size(path)
        self._pixels: Image | PillowImage.Image
        if self.height * self.width <= LARGE:
            self._pixels = read_image(path)
        else:
            self._pixels = _loaded(path)

    def rows(self, top: int, bottom: int) -> Image:
        """Rows top .. bottom - 1 as stored: (bottom - top) x width x 3 uint8 RGB."""
        if isinstance(self._pixels, np.ndarray):
            return self._pixels[top:bottom]
        with _large_ones_allowed():  # a band of a much reduced photograph is large too
            return np.asarray(self._pixels.crop((0, top, self.width, bottom)).convert("RGB"))

    def bands(self, scale: float, height: int) -> Iterator[tuple[int, Image]]:
        """The photograph in another size, band by band.

        Each band is made from the rows that it depends on, so that the memory used is that of one band. It equals the
        same rows of `data.resize.resize` on the whole photograph; where a value lies on a half but for the rounding of
        float64, it may fall to the other side (never at scales whose reciprocal is a power of two).

        Args:
            scale: of both sides, a multiple of 0.05, at most 1. The photograph is first cropped at the right
                and bottom so that both sides become whole numbers.
            height: of a band; a remainder at the bottom is dropped.

        Yields:
            first row in the scaled photograph, height x scaled width x 3 uint8 RGB.
        """
        ratio = Fraction(round(scale * 20), 20)
        p, q = ratio.numerator, ratio.denominator
        rows, columns = scaled_size((self.height, self.width), scale)
        for top in range(0, rows - height + 1, height):
            if p == q:
                yield top, self.rows(top, top + height)
                continue
            # Both ends on multiples of p, which are whole numbers of stored rows too: there the taps of the part are
            # those of the whole.
            first = max(0, (top - _MARGIN) // p * p)
            last = min(rows, -(-(top + height + _MARGIN) // p) * p)
            part = self.rows(first // p * q, last // p * q)[:, : columns // p * q]
            yield top, resize(part, (last - first, columns))[top - first : top - first + height]


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width of a photograph at a scale that is a multiple of 0.05, as `Photograph.bands` makes it."""
    ratio = Fraction(round(scale * 20), 20)
    p, q = ratio.numerator, ratio.denominator
    return size[0] // q * p, size[1] // q * p


@contextmanager
def _large_ones_allowed() -> Iterator[None]:
    """Lifts Pillow's limit of pixels, which is a global of Pillow's, for a while."""
    before = PillowImage.MAX_IMAGE_PIXELS
    PillowImage.MAX_IMAGE_PIXELS = _LARGEST // 2  # Pillow refuses what has more than twice as many
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            yield
    finally:
        PillowImage.MAX_IMAGE_PIXELS = before


def _loaded(path: Path) -> PillowImage.Image:
    """A large photograph, decoded into Pillow's own memory."""
    try:
        with _large_ones_allowed(), PillowImage.open(path) as file:
            if file.mode not in _LARGE_MODES:
                raise UserError(
                    f"has {file.height * file.width / 1e6:.0f} million pixels in mode {file.mode}; photographs of this "
                    "size are read with 8 bits, in grey, RGB or CMYK",
                    where=str(path),
                    fix="Convert it, or cut it into parts.",
                )
            file.load()
            return file
    except (OSError, SyntaxError, ValueError, MemoryError) as error:
        reason = "does not fit into memory" if isinstance(error, MemoryError) else f"cannot be decoded: {error}"
        raise UserError(reason, where=str(path), fix="Replace the file or remove it.") from error
