"""Tone scores, computed from the distribution of pixel values."""

import numpy as np
from numpy.typing import NDArray

_VALUES = np.arange(256)


def brightness(histogram: NDArray[np.int64]) -> float:
    """Mean luma, 0 .. 255, from a histogram of 256 bins."""
    return float(histogram @ _VALUES / histogram.sum())


def contrast(histogram: NDArray[np.int64]) -> float:
    """Standard deviation of the luma, 0 .. 127.5, from a histogram of 256 bins."""
    away = _VALUES - brightness(histogram)
    return float(np.sqrt(histogram @ away**2 / histogram.sum()))


def entropy(histogram: NDArray[np.int64]) -> float:
    """Shannon entropy of the luma in bits, 0 .. 8, from a histogram of 256 bins."""
    shares = histogram[histogram > 0] / histogram.sum()
    return abs(float(shares @ np.log2(shares)))


def clipping(image: NDArray[np.uint8]) -> float:
    """Share of samples that are 0 or 255 in every fourth row of an h x w x 3 image, 0 .. 1."""
    some = image[::4]
    # Adding 1 turns 255 into 0 and 0 into 1, so a single comparison finds both.
    return int(np.count_nonzero(some + np.uint8(1) <= 1)) / some.size
