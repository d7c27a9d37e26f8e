"""Standard deviation of white noise, told from texture by its spectrum."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from paragonsr.curation.scores.haar import Level, Plane

_SHARE = 0.1
"""Of the blocks of 8 x 8 pixels those with the least coarse structure are looked at."""

_DARK = 8.0
"""Blocks with a smaller mean are left out: clipping hides their noise."""
_BRIGHT = 247.0
"""Blocks with a larger mean are left out."""
_GAUSSIAN = (2.25, 3.75)
"""Kurtosis between which details are noise."""
_OTHER = (1.5, 5.0)
"""Kurtosis beyond which they are pattern or texture. Gaussian noise has 3; 95% of
247 photographs with added noise of standard deviation 10 had less than 3.61; a pattern that repeats has 1 to 2, texture
mostly 4.5 to 40."""


def noise(levels: Sequence[Level]) -> float:
    """Standard deviation of the white noise on a plane.

    Looks at those blocks with the least energy on the third Haar level, which says little of noise on the first two.
    There the diagonal details' mean squares are e1 = n + t and e2 = n / 4 + t, for noise of variance n and a texture
    whose power falls with the square of the frequency, as that of natural images does (Field 1987); so
    n = 4 (e1 - e2) / 3, within 0 .. e1. Texture with a flatter spectrum (sand, aliased detail, a fine pattern) is told
    by its kurtosis: where the fine details are not spread as Gaussian noise, less is taken for noise, down to nothing.

    Args:
        levels: of `haar`, at least three, or the result is 0: the plane is smaller than 8 x 8.

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
    """Of the diagonal details in chosen blocks of side x side details, joined to one line.

    `chosen` knows every second row of blocks.
    """
    rows, columns = len(level.diagonal) // side, chosen.shape[1]
    details = level.diagonal[: rows * side, : columns * side].reshape(rows, side, columns, side)[::2]
    return np.square(details.transpose(0, 2, 1, 3)[chosen]).ravel()


def _gaussian(squares: Plane) -> float:
    """1 where details may be noise, 0 where they are spread too evenly or too unevenly, from the kurtosis."""
    kurtosis = float(squares @ squares) * squares.size / float(squares.sum()) ** 2
    # Three standard deviations of what a sample of Gaussian noise has. Downwards less of it the nearer the kurtosis is
    # to 1, the least there can be: a sample of noise, however small, never has details that are all equally large.
    slack = 3 * math.sqrt(24 / squares.size)
    shares = [
        (kurtosis + slack * (kurtosis - 1) / 2 - _OTHER[0]) / (_GAUSSIAN[0] - _OTHER[0]),
        (kurtosis - slack - _OTHER[1]) / (_GAUSSIAN[1] - _OTHER[1]),
    ]
    return min(max(min(shares), 0.0), 1.0)
