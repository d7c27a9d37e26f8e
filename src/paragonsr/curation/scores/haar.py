"""Haar wavelet details of a plane: what the scores of noise and complexity share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

LEVELS = 4
"""Block sides 2, 4, 8 and 16 pixels: from single pixels to the size of small objects."""


@dataclass(frozen=True)
class Level:
    """Means and details of blocks [[a, b], [c, d]] of 2 x 2 samples of the next finer level's means.

    White noise of standard deviation s on the samples gives `diagonal` the variance 4 s^2 and `energy` the mean 12 s^2;
    s halves from level to level. Nothing is normalised: every pass over a plane takes time.
    """

    mean: Plane
    diagonal: Plane
    """a - b - c + d of every block."""
    energy: Plane
    """Sum of the squares of the horizontal, the vertical and the diagonal detail; of every second row of blocks, which
    is enough for a mean."""


def haar(plane: Plane | NDArray[np.int16], levels: int = LEVELS) -> list[Level]:
    """Decompose a plane (Haar 1910; Mallat 1989).

    Args:
        plane: (n x) h x w, of integers at most 255; an odd last row or column of a level is left out.
        levels: at most so many; fewer where a side falls under two samples.

    Returns:
        levels, finest first.
    """
    found: list[Level] = []
    while len(found) < levels and min(plane.shape[-2:]) >= 2:
        found.append(_split(plane))
        plane = found[-1].mean
    return found


def _split(plane: Plane | NDArray[np.int16]) -> Level:
    height, width = plane.shape[-2] & ~1, plane.shape[-1] & ~1
    # Whole rows first, as integers where they are: every second row is contiguous, every second column is not.
    top, bottom = plane[..., 0:height:2, :width], plane[..., 1:height:2, :width]
    total, change = (top + bottom).astype(np.float32, copy=False), (top - bottom).astype(np.float32, copy=False)
    left, right = total[..., 0::2], total[..., 1::2]
    mean, horizontal = left + right, left[..., ::2, :] - right[..., ::2, :]
    left, right = change[..., 0::2], change[..., 1::2]
    diagonal, vertical = left - right, left[..., ::2, :] + right[..., ::2, :]
    energy = np.square(horizontal, out=horizontal)
    energy += np.square(vertical, out=vertical)
    energy += np.square(diagonal[..., ::2, :])
    mean *= np.float32(0.25)
    return Level(mean, diagonal, energy)
