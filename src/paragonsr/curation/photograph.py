"""A photograph that is decoded once and handed out in bands, however large it is."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from paragonsr.data.image_file import open_image, unreadable
from paragonsr.data.images import read_image, to_rgb
from paragonsr.data.resize import Image, resize

LARGE = 80_000_000
"""Pixels from which a photograph is not held as an array: libvips keeps it in a temporary file, and bands are read."""

_MARGIN = 4
"""Output rows beyond a band that its own may depend on: the kernel reaches 2, and both ends are rounded."""


class Photograph:
    """The decoded pixels of one file.

    Args:
        path: an image file of up to 4 000 million pixels.

    Raises:
        UserError: naming the file and what is wrong with it.
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


def _decoded(image: Any, path: Path) -> Any:
    """The same image in a temporary file of libvips, decoded once; the file goes when the image does."""
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
