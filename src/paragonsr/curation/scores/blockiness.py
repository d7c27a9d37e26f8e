"""Blocks of 8 x 8 pixels, as JPEG and older video leave them, wherever their grid begins."""

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]

_PERIOD = 8
_SHORTEST = 3 * _PERIOD
"""Pixels of a side: three lines of the grid in each position it can have."""

_EVERY = 3
"""Not a divisor of the period: all rows of a block are looked at in turn."""

_VISIBLE = 1.0
"""Grey levels of a step that are seen on a plain ground."""


def blockiness(grey: Grey) -> float:
    """How much of the mean step between neighbouring pixels is due to a grid of 8, in percent, 0 .. 100.

    For each direction: the mean absolute step across every line between pixels (in every third row or column), less
    the mean of the lines on its two sides; the median of these over the lines of each of the eight positions that a
    grid can have; the excess x of the greatest over the second greatest position (a grid raises one position, texture
    of a shorter period several). With the mean step a of the image the score is 100 x / (x + a + 1), the mean of both
    directions. Comparing lines with their neighbours follows Wang, Sheikh and Bovik (2002).

    Args:
        grey: h x w uint8; sides under 24 pixels count as 0.
    """
    some = np.ascontiguousarray(grey[:, ::_EVERY])
    rows = _distance(some[1:], some[:-1]).astype(np.float32) @ _means(some.shape[1])
    # Rows joined: one long subtraction is faster. The step from a row's end to the next one's begin is dropped.
    some = np.ascontiguousarray(grey[::_EVERY])
    flat, steps = some.ravel(), np.zeros(some.size, np.float32)
    steps[:-1] = _distance(flat[1:], flat[:-1])
    columns = _means(len(some)) @ steps.reshape(some.shape)
    return (_excess(rows) + _excess(columns[:-1])) / 2


def _distance(one: Grey, other: Grey) -> Grey:
    """|one - other| without leaving 8 bits."""
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
