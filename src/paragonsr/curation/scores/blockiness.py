"""Blockiness score: 8 x 8 blocks of JPEG and older video, at any grid offset."""

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]

_PERIOD = 8
_SHORTEST = 3 * _PERIOD
"""Minimum side in pixels: three grid lines at each possible offset."""

_EVERY = 3
"""Step between examined rows; not a divisor of the period, so that all rows of a block take turns."""

_VISIBLE = 1.0
"""Step in grey levels that is visible on a plain background."""


def blockiness(grey: Grey) -> float:
    """Share of the mean step between neighbouring pixels that is due to a grid of 8, in percent, 0 .. 100.

    For each direction: the mean absolute step across every line between pixels (in every third row or column), less
    the mean of its two neighbouring lines; the median of this over the lines of each of the eight possible grid
    offsets; and the excess x of the largest over the second largest offset (a grid raises one offset, texture of a
    shorter period several). With the mean step a of the image, the score is 100 x / (x + a + 1), averaged over both
    directions. Comparing lines with their neighbours follows Wang, Sheikh and Bovik (2002).

    Args:
        grey: h x w uint8; directions with fewer than 24 pixels count as 0.
    """
    some = np.ascontiguousarray(grey[:, ::_EVERY])
    rows = _distance(some[1:], some[:-1]).astype(np.float32) @ _means(some.shape[1])
    # Rows are joined, since one long subtraction is faster. Steps from one row's end to the next row are dropped.
    some = np.ascontiguousarray(grey[::_EVERY])
    flat, steps = some.ravel(), np.zeros(some.size, np.float32)
    steps[:-1] = _distance(flat[1:], flat[:-1])
    columns = _means(len(some)) @ steps.reshape(some.shape)
    return (_excess(rows) + _excess(columns[:-1])) / 2


def _distance(one: Grey, other: Grey) -> Grey:
    """|one - other|, computed in 8 bits."""
    return np.maximum(one, other) - np.minimum(one, other)


def _means(count: int) -> NDArray[np.float32]:
    return np.full(count, 1 / count, np.float32)


def _excess(profile: NDArray[np.float32]) -> float:
    if len(profile) + 1 < _SHORTEST:
        return 0.0
    above = profile[1:-1] - (profile[:-2] + profile[2:]) / 2
    whole = above[: len(above) // _PERIOD * _PERIOD].reshape(-1, _PERIOD)
    second, first = np.sort(np.sort(whole, axis=0)[len(whole) // 2])[-2:].tolist()
    excess = max(first, 0.0) - max(second, 0.0)
    return 100 * excess / (excess + float(profile.mean()) + _VISIBLE)
