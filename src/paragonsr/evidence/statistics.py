"""What a handful of paired runs allows to say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, stats

FEWEST = 3
"""Pairs below which no interval is given."""
CONFIDENCE = 0.95
POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, and how surely it is known."""

    mean: float
    count: int
    low: float | None
    """Bounds of the 95% t-interval of the mean; None with fewer than 3 pairs."""
    high: float | None
    detectable: float | None
    """Smallest true difference that this many pairs of this spread find in 80% of all experiments."""

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:+.3f} (fewer than {FEWEST} seeds: no interval)"
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def paired_difference(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """Mean of ours - theirs with its 95% t-interval.

    Args:
        ours, theirs: values of the same seeds in the same order, at least one, all finite.

    Raises:
        ValueError: the lengths differ, there are none, or a value is not finite.
    """
    if len(ours) != len(theirs) or not ours:
        raise ValueError(f"{len(ours)} values do not pair with {len(theirs)}")
    differences = np.subtract(ours, theirs)
    if not np.isfinite(differences).all():
        raise ValueError("a value is not finite")
    mean, low, high = mean_interval(differences)
    count = len(differences)
    if low is None or high is None:
        return Difference(float(mean), count, None, None, None)
    spread = float(differences.std(ddof=1))
    return Difference(float(mean), count, float(low), float(high), detectable_effect(count) * spread)


def mean_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Mean over the first axis, and the bounds of its 95% t-interval; None with fewer than 3 values.

    Args:
        values: (count, ...), at least one along the first axis.

    Returns:
        mean, low and high, each of shape (...).
    """
    mean, count = values.mean(axis=0), len(values)
    if count < FEWEST:
        return mean, None, None
    half = critical(count) * values.std(axis=0, ddof=1) / math.sqrt(count)
    return mean, mean - half, mean + half


@lru_cache
def critical(count: int) -> float:
    """How many standard errors a 95% t-interval of `count` values reaches to either side (Student 1908)."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))


@lru_cache
def detectable_effect(count: int) -> float:
    """The true mean difference, in standard deviations of the differences, that a two-sided paired t-test at 5% finds
    with a probability of 80% in `count` pairs: from the noncentral t distribution.
    """
    bound = critical(count)

    def missed(effect: float) -> float:
        shift = effect * math.sqrt(count)
        found = stats.nct.sf(bound, count - 1, shift) + stats.nct.cdf(-bound, count - 1, shift)
        return float(found) - POWER

    # Central t quantiles overestimate it a little; scipy's noncentral t is not reliable far beyond it.
    rough = (bound + stats.t.ppf(POWER, count - 1)) / math.sqrt(count)
    return float(optimize.brentq(missed, 0.0, 1.5 * rough))


def first_reached(positions: Sequence[float], values: Sequence[float], target: float, better: str) -> float | None:
    """Where a curve first reaches a target, on the straight line between two points; None if it never does.

    Args:
        positions: increasing: iterations or seconds.
        values: the value at each position.
        target: reached when equalled.
        better: "higher" or "lower".
    """
    sign = 1.0 if better == "higher" else -1.0
    before: tuple[float, float] | None = None
    for position, value in zip(positions, values, strict=True):
        if sign * value >= sign * target:
            if before is None:
                return float(position)
            start, low = before
            return float(start + (position - start) * (target - low) / (value - low))
        before = position, value
    return None
