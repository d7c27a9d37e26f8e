"""Noise score: standard deviation of white noise, distinguished from texture by its spectrum."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from paragonsr.curation.scores.haar import Level, Plane

_SHARE = 0.1
"""Share of the 8 x 8 blocks, those with the least coarse structure, that are examined."""

_DARK = 8.0
"""Blocks with a smaller mean are ignored, because clipping hides their noise."""
_BRIGHT = 247.0
"""Blocks with a larger mean are ignored."""
_GAUSSIAN = (2.25, 3.75)
"""Range of kurtosis in which details count as noise."""
_OTHER = (1.5, 5.0)
"""Range of kurtosis outside of which details count as pattern or texture. Gaussian noise has 3; 95% of 247 photographs
with added noise of standard deviation 10 had less than 3.61; repeating patterns have 1 to 2, texture mostly 4.5 to
40."""


def noise(levels: Sequence[Level]) -> float:
    """Standard deviation of the white noise on a plane.

    It uses the blocks with the least energy on the third Haar level, which hardly depends on noise on the first two.
    There the mean squares of the diagonal details are e1 = n + t and e2 = n / 4 + t, for noise of variance n and a
    texture whose power falls with the square of the frequency, as in natural images (Field 1987). Hence
    n = 4 (e1 - e2) / 3, clamped to 0 .. e1. Texture with a flatter spectrum (sand, aliased detail, a fine pattern) is
    recognised by its kurtosis: the less the fine details are distributed like Gaussian noise, the less counts as noise.

    Args:
        levels: result of `haar`; with fewer than three (a plane smaller than 8 x 8) the result is 0.

    Returns:
        in the plane's unit, from 0.
    """
    if len(levels) < 3:
        return 0.0
    fine, middle, coarse = levels[:3]
    mean = coarse.mean[::2]
    flat = np.where((mean > _DARK) & (mean < _BRIGHT), coarse.energy, np.inf)
    rank = int(_SHARE * flat.size)
    chosen = (flat <= np.partition(flat, rank, axis=None)[rank]) & np.isfinite(flat)
    if not chosen.any():
        return 0.0
    squares, coarser = _squares(fine, chosen, 4), _squares(middle, chosen, 2)
    first, second = float(squares.mean()) / 4, float(coarser.mean()) / 4
    variance = min(max(4 * (first - second) / 3, 0.0), first)
    return math.sqrt(variance * _gaussian(squares)) if variance > 0 else 0.0


def _squares(level: Level, chosen: NDArray[np.bool_], side: int) -> Plane:
    """Squares of the diagonal details in the chosen blocks of side x side details, as a flat array.

    `chosen` covers every second row of blocks.
    """
    rows, columns = len(level.diagonal) // side, chosen.shape[1]
    details = level.diagonal[: rows * side, : columns * side].reshape(rows, side, columns, side)[::2]
    return np.square(details.transpose(0, 2, 1, 3)[chosen]).ravel()


def _gaussian(squares: Plane) -> float:
    """1 if the details may be noise, 0 if their kurtosis is too low or too high, between for borderline values."""
    kurtosis = float(squares @ squares) * squares.size / float(squares.sum()) ** 2
    # Three standard deviations for a sample of Gaussian noise. Below 3, the tolerance shrinks towards 1, the smallest
    # possible kurtosis: in a sample of noise, however small, the details are never all equally large.
    slack = 3 * math.sqrt(24 / squares.size)
    shares = [
        (kurtosis + slack * (kurtosis - 1) / 2 - _OTHER[0]) / (_GAUSSIAN[0] - _OTHER[0]),
        (kurtosis - slack - _OTHER[1]) / (_GAUSSIAN[1] - _OTHER[1]),
    ]
    return min(max(min(shares), 0.0), 1.0)
