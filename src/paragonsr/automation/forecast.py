"""Forecast of the final PSNR of a run, from its validations so far and the course of its learning rate.

Progress is measured in work: the sum of the learning rates up to a position. If averaged weights are validated, it is
the moving average of that sum, since the averaged weights lag behind. Schedule and decays are known in advance, and so
is the remaining work. Plotted against the logarithm of the work x, the validation metric P is steep at first and then
flattens: locally it follows a power law, P = P_inf - a e^(-c x), so its further gain is

    G(dx) = v (1 - e^(-c dx)) / c,    v = dP/dx now.

v is the slope of the last quarter of the validations. c is hard to estimate: it is the exponent between this slope and
that of the quarter before, shrunk most of the way towards the typical value.

A falling rate brings an additional gain: at a constant rate the weights fluctuate around an optimum, and so do the
validations. With r the rate that the validated weights have seen, as a share of its peak, and s the scatter of the
validations, lowering it to r_end gains

    A = (ANNEALING_DB + ANNEALING_PER_SCATTER s) (r^4 - r_end^4).

The constants and the interval were measured on real runs of a small network (docs/automations.md).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

QUARTER = 4
FEWEST_VALIDATIONS = 6
"""Minimum number of validations for a forecast."""
USUAL_EXPONENT = 0.9
"""Typical exponent of a run."""
SEEN_SHARE = 0.22
"""Weight of the measured exponent against the typical one."""
LEAST_SEEN = -2.0
"""Lower bound of the measured exponent."""
MOST_SEEN = 4.0
"""Upper bound of the measured exponent."""
ANNEALING_DB = 0.024
"""Minimum gain from lowering the rate, in dB."""
ANNEALING_PER_SCATTER = 4.0
"""Further gain from lowering the rate, as a multiple of the scatter of the validations."""
ANNEALING_POWER = 4
"""Power of the rate in that gain; the larger, the later in the decay the gain comes."""
BELOW = 0.05
"""Lower end of the 80% interval: G e^-(BELOW + BELOW_PER_LOG dx)."""
BELOW_PER_LOG = 0.62
"""Growth of the distance of the lower end with dx."""
ABOVE = 0.12
"""Upper end of the 80% interval: G e^ABOVE."""
ANNEALING_SHARE = 0.55
"""Share of the annealing gain by which both ends are widened."""
FAR = 0.7
"""Largest dx that widens the interval."""
NOISE_FACTOR = 1.0
"""Multiple of the scatter of the validations by which both ends are widened."""
RESOLUTION_DB = 0.003
"""Constant by which both ends are widened: no forecast is more precise."""
LEFT_START_DB = 0.4
"""A run that has gained less than this since its first validation may still be on the initial plateau."""
BREAKTHROUGH_DB = 0.5
"""Maximum gain from leaving that plateau."""
BREAKTHROUGH_SHARE = 0.3
"""Expected share of that gain."""
LEAST_SLOPE = 1e-3
"""Minimum slope, in dB per unit of log work, also assumed if the value stagnates or falls."""
POINTS = 1024
"""Number of positions at which the course of the rate is sampled."""
TENTH = 0.1


@dataclass(frozen=True)
class Forecast:
    """Forecast of a run, in dB."""

    final: float
    """PSNR at the end."""
    low: float
    high: float
    """Ends of an 80% interval of the final PSNR."""
    iterations_to_next_tenth: int | None
    """Positions until the PSNR is 0.1 dB above the latest one; None if that is not expected before the end."""


def forecast(
    positions: Sequence[float],
    values: Sequence[float],
    rate: Callable[[float], float],
    total: float,
    ema_decay: float = 0.0,
    ema_power: float = 0.75,
) -> Forecast | None:
    """Forecast the final PSNR of a run, from a third of the run on.

    Args:
        positions: positions of the validations so far, increasing.
        values: their PSNR in dB.
        rate: learning rate at a position from 0 to total, past and planned.
        total: position at the end of the run.
        ema_decay: decay of the EMA whose weights are validated; 0 without EMA.
        ema_power: power of the EMA.

    Returns:
        the forecast; None with fewer than six validations, before a third of the run, at its end, or if the rate has
        been 0 so far.
    """
    now = positions[-1] if positions else 0.0
    if len(positions) < FEWEST_VALIDATIONS or now < total / 3 or now >= total:
        return None
    grid = np.linspace(0.0, total, POINTS)
    rates = np.array([rate(position) for position in grid])
    work = averaged_work(grid, rates, ema_decay, ema_power)
    log_work = np.log(work)
    x, y = np.interp(positions, grid, log_work), np.asarray(values, float)
    if not (np.diff(x) > 0).all():
        return None
    steepness, exponent, scatter = _course(x, y)
    to_come = np.linspace(now, total, POINTS)
    ahead = np.interp(to_come, grid, log_work) - x[-1]
    gains = -steepness * np.expm1(-exponent * ahead) / exponent
    wavering = np.interp(to_come, grid, (np.gradient(work, grid) / rates.max()) ** ANNEALING_POWER)
    annealed = (ANNEALING_DB + ANNEALING_PER_SCATTER * scatter) * np.maximum(wavering[0] - wavering, 0.0)
    gain, annealing, far = float(gains[-1]), float(annealed[-1]), min(float(ahead[-1]), FAR)
    margin = ANNEALING_SHARE * annealing + NOISE_FACTOR * scatter + RESOLUTION_DB
    surprise = BREAKTHROUGH_DB * min(max(1 - float(y[-1] - y[0]) / LEFT_START_DB, 0.0), 1.0) * far / FAR
    reached = np.flatnonzero(gains + annealed >= TENTH)
    return Forecast(
        final=float(y[-1] + gain + annealing + BREAKTHROUGH_SHARE * surprise),
        low=float(y[-1] + gain * math.exp(-BELOW - BELOW_PER_LOG * far) + annealing - margin),
        high=float(y[-1] + gain * math.exp(ABOVE) + annealing + margin + surprise),
        iterations_to_next_tenth=round(float(reached[0]) * (total - now) / (POINTS - 1)) if reached.size else None,
    )


def averaged_work(positions: np.ndarray, rates: np.ndarray, ema_decay: float, ema_power: float) -> np.ndarray:
    """Sum of the learning rates up to each position, as seen by the averaged weights.

    The average has the decay min(ema_decay, 1 - (1 + n)^-ema_power) after n updates, one at each position.

    Args:
        positions: increasing, from 0.
        rates: learning rate at each position.

    Returns:
        float64, same length, positive.
    """
    gaps = np.diff(positions)
    work = np.concatenate([[0.0], np.cumsum(gaps * (rates[1:] + rates[:-1]) / 2)])
    if ema_decay > 0:
        taken = np.maximum(1 - ema_decay, (1 + positions[1:]) ** -ema_power)
        seen = 0.0
        for index, share in enumerate(1 - (1 - np.minimum(taken, 1)) ** gaps, 1):
            seen += share * (work[index] - seen)
            work[index] = seen
    return np.maximum(work, np.finfo(float).tiny)


def _course(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Current slope dP/dx, exponent from now on, and scatter of the values around the fit."""
    count = max(len(x) // QUARTER, 3)
    last, before = slice(len(x) - count, None), slice(max(len(x) - 2 * count, 0), len(x) - count)
    steepness, scatter = _line(x[last], y[last])
    earlier, _ = _line(x[before], y[before])
    steepness, earlier = max(steepness, LEAST_SLOPE), max(earlier, LEAST_SLOPE)
    seen = math.log(earlier / steepness) / float(x[last].mean() - x[before].mean())
    seen = min(max(seen, LEAST_SEEN), MOST_SEEN)
    return steepness, USUAL_EXPONENT + SEEN_SHARE * (seen - USUAL_EXPONENT), scatter


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of the regression line, and the standard deviation around it."""
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    residuals = y - y.mean() - slope * centred
    return slope, float(np.sqrt(residuals @ residuals / (len(x) - 2)))
