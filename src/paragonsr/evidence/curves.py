"""Curves of an arm's runs: aligned, averaged over the seeds, and compared with another arm seed by seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from paragonsr.evidence.runs import Run
from paragonsr.evidence.statistics import mean_interval

Points = tuple[np.ndarray, np.ndarray]
"""Positions, increasing, and the value at each."""


@dataclass(frozen=True)
class Shaded:
    """Curve with an interval around it; low and high are None if there is no interval."""

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def aligned(curves: Sequence[Points]) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate several curves at the same points: all positions of any curve, from where all have started.

    Curves are linear between their points; one that ended early keeps its last value, which is the result of its run.

    Args:
        curves: at least one, none of them empty.

    Returns:
        positions (points,) and values (curves, points).
    """
    positions = np.unique(np.concatenate([x for x, _ in curves]))
    positions = positions[positions >= max(x[0] for x, _ in curves)]
    return positions, np.stack([np.interp(positions, x, y) for x, y in curves])


def mean_curve(runs: Sequence[Run], metric: str, set_name: str) -> Shaded:
    """Mean over the seeds of a metric against iterations, with the 95% t-interval of the mean."""
    positions, values = aligned([run.curve(metric, set_name) for run in runs])
    return Shaded(positions, *mean_interval(values))


def in_seconds(curve: Shaded, runs: Sequence[Run]) -> Shaded:
    """The same curve against seconds of training, averaged over the runs at each iteration."""
    seconds = np.mean([run.seconds_at(curve.x) for run in runs], axis=0)
    return Shaded(seconds, curve.y, curve.low, curve.high)


def difference_curve(ours: Sequence[Run], theirs: Sequence[Run], metric: str, set_name: str) -> Shaded:
    """Mean over the seeds of ours - theirs against iterations, with its 95% t-interval.

    Args:
        ours, theirs: runs of the same seeds in the same order.
    """
    positions, values = aligned([run.curve(metric, set_name) for run in (*ours, *theirs)])
    return Shaded(positions, *mean_interval(values[: len(ours)] - values[len(ours) :]))
