"""Photographs of any size, decoded once and read in bands."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from paragonsr.data.image_file import open_image, unreadable
from paragonsr.data.images import read_image, to_rgb
from paragonsr.resize import Image, resize

LARGE = 80_000_000
"""Number of pixels above which libvips keeps a photograph in a temporary file, and only bands are read as arrays."""

_MARGIN = 4
"""Output rows around a band that it may depend on: the kernel reaches 2, and both ends are rounded."""


class Photograph:
    """Decoded pixels of one file.

    Args:
        path: an image file of up to 4 000 million pixels.

    Raises:
        UserError: the file cannot be used; the message says why.
    """

    def __init__(self, path: Path) -> None:
        image = open_image(path)
        self._path, self.height, self.width = path, int(image.height), int(image.width)
        large = self.height * self.width > LARGE
        self._image = _decoded(image, path) if large else None
        self._pixels = None if large else read_image(path)

    def rows(self, top: int, bottom: int) -> Image:
        """Rows top .. bottom - 1: (bottom - top) x width x 3 uint8 RGB."""
        if self._pixels is not None:
            return self._pixels[top:bottom]
        assert self._image is not None
        return to_rgb(self._image.crop(0, top, self.width, bottom - top).numpy(), self._path)

    def bands(self, scale: float, height: int) -> Iterator[tuple[int, Image]]:
        """Yield the resized photograph band by band.

        Each band is computed from the rows that it depends on, so that only one band is in memory. It equals the same
        rows of `resize.resize` on the whole photograph, except that values on a half, up to the rounding of
        float64, may be rounded to the other side (never at scales whose reciprocal is a power of two).

        Args:
            scale: a multiple of 0.05, at most 1. The photograph is first cropped at the right and bottom so that both
                sides become integers.
            height: height of a band; a remainder at the bottom is dropped.

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
            # Both ends are on multiples of p, which correspond to whole stored rows: there the taps of the part equal
            # those of the whole.
            first = max(0, (top - _MARGIN) // p * p)
            last = min(rows, -(-(top + height + _MARGIN) // p) * p)
            part = self.rows(first // p * q, last // p * q)[:, : columns // p * q]
            yield top, resize(part, (last - first, columns))[top - first : top - first + height]


def _decoded(image: Any, path: Path) -> Any:
    """The same image, decoded once into a temporary file of libvips that is deleted with the image."""
    import pyvips

    decoded = pyvips.Image.new_temp_file("%s.v")
    try:
        image.write(decoded)
    except (pyvips.Error, MemoryError) as error:
        raise unreadable(path, error) from error
    return decoded


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width of a photograph at a scale that is a multiple of 0.05, as `Photograph.bands` makes it."""
    ratio = Fraction(round(scale * 20), 20)
    p, q = ratio.numerator, ratio.denominator
    return size[0] // q * p, size[1] // q * p
