"""Scores of single pixels: how their tones are spread."""

import numpy as np
from numpy.typing import NDArray

_VALUES = np.arange(256)


def brightness(histogram: NDArray[np.int64]) -> float:
    """Mean luma, 0 .. 255; of a histogram of 256 bins."""
    return float(histogram @ _VALUES / histogram.sum())


def contrast(histogram: NDArray[np.int64]) -> float:
    """Standard deviation of the luma, 0 .. 127.5; of a histogram of 256 bins."""
    away = _VALUES - brightness(histogram)
    return float(np.sqrt(histogram @ away**2 / histogram.sum()))


def entropy(histogram: NDArray[np.int64]) -> float:
    """Shannon entropy of the luma's 256 values in bits, 0 .. 8; of a histogram of 256 bins."""
    shares = histogram[histogram > 0] / histogram.sum()
    return abs(float(shares @ np.log2(shares)))


def clipping(image: NDArray[np.uint8]) -> float:
    """Share of the samples that are 0 or 255 in every fourth row, 0 .. 1; of an h x w x 3 image."""
    some = image[::4]
    # One more makes 255 to 0 and 0 to 1: a single comparison finds both.
    return int(np.count_nonzero(some + np.uint8(1) <= 1)) / some.size
