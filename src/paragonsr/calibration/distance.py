"""Energy distance between two samples of traits.

With X, X' drawn from one distribution and Y, Y' from the other, all independent, it is
2 E|X - Y| - E|X - X'| - E|Y - Y'| (Szekely and Rizzo 2013, "Energy statistics: a class of statistics
based on distances"): 0 if and only if both distributions are equal. |.| is the Euclidean norm, so that the joint
distribution of all traits is compared.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def distances(one: Floats, other: Floats) -> Floats:
    """Euclidean distances between the rows, N x M."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * one @ other.T
    found: Floats = np.sqrt(np.maximum(squares, 0.0))
    return found


def energy_distance(one: Floats, other: Floats) -> float:
    """Energy distance of two samples; means within a sample leave out each point's distance from itself, so that
    samples of one distribution have the expectation 0.

    Args:
        one: N x traits.
        other: M x traits.
    """
    within = [distances(x, x).sum() / max(len(x) * (len(x) - 1), 1) for x in (one, other)]
    return float(2 * distances(one, other).mean() - sum(within))
