"""How good a run will be at its end, from its validations so far and the course of its learning rate.

Progress is counted in work: the sum of the learning rates up to a position, and, where weights are averaged before they
are validated, its moving average, since what is validated lags behind. The schedule and the decays are known ahead, and
with them the work that is still to come. Against the logarithm of the work x the validation metric P is steep first and
flattens: locally it follows a power law, P = P_inf - a e^(-c x), so that from now on it gains

    G(dx) = v (1 - e^(-c dx)) / c,    v = dP/dx now.

v is the slope of the last quarter of the validations; c, hard to see from them, is the exponent between this slope and
that of the quarter before it, drawn most of the way to what runs usually have.

On top comes what a falling rate gains by itself: at a constant rate weights waver about where they could be, and so do
the validations. With r the rate that the validated weights have seen, as a share of its peak, and s the scatter of the
validations, bringing it down to r_end gains

    A = (ANNEALING_DB + ANNEALING_PER_SCATTER s) (r^4 - r_end^4).

The constants and the interval are measured on real runs of a small network (docs/automations.md).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

QUARTER = 4
FEWEST_VALIDATIONS = 6
"""Validations without which nothing can be said."""
USUAL_EXPONENT = 0.9
"""Exponent that runs usually have."""
SEEN_SHARE = 0.22
"""How much of the distance from the usual exponent to the one that was seen is believed."""
LEAST_SEEN = -2.0
"""Smallest exponent that a run can be seen to have."""
MOST_SEEN = 4.0
"""Largest exponent that a run can be seen to have."""
ANNEALING_DB = 0.024
"""What bringing the rate down gains at least, in dB."""
ANNEALING_PER_SCATTER = 4.0
"""And so many times the scatter of the validations."""
ANNEALING_POWER = 4
"""How late in the fall of the rate that gain comes."""
BELOW = 0.05
"""Lower end of the 80% interval: G e^-(BELOW + BELOW_PER_LOG dx)."""
BELOW_PER_LOG = 0.62
"""Growth of the lower end's distance with dx."""
ABOVE = 0.12
"""Upper end of the 80% interval: G e^ABOVE."""
ANNEALING_SHARE = 0.55
"""Share of the annealing gain by which each end lies further out."""
FAR = 0.7
"""Largest dx that widens the interval."""
NOISE_FACTOR = 1.0
"""Both ends lie further out by so many times the scatter of the validations."""
RESOLUTION_DB = 0.003
"""And by what no forecast resolves."""
LEFT_START_DB = 0.4
"""A run that has gained less since its first validation may still be on the plateau on which these networks start."""
BREAKTHROUGH_DB = 0.5
"""What leaving that plateau brings at most."""
BREAKTHROUGH_SHARE = 0.3
"""The share of it that is expected."""
LEAST_SLOPE = 1e-3
"""A value that stands still or falls is taken to rise by this much, in dB per unit of log work."""
POINTS = 1024
"""Positions at which the course of the rate is looked at."""
TENTH = 0.1


@dataclass(frozen=True)
class Forecast:
    """What is expected of a run, in dB."""

    final: float
    """PSNR at the end."""
    low: float
    high: float
    """Ends of an interval that holds the final PSNR of four runs in five."""
    iterations_to_next_tenth: int | None
    """Positions until the PSNR is 0.1 above the last one; None where that is not expected before the end."""


def forecast(
    positions: Sequence[float],
    values: Sequence[float],
    rate: Callable[[float], float],
    total: float,
    ema_decay: float = 0.0,
    ema_power: float = 0.75,
) -> Forecast | None:
    """Expect the end of a run, from a third of it on.

    Args:
        positions: of the validations so far, rising.
        values: their PSNR, dB.
        rate: learning rate at a position from 0 to total, as it was and as it is planned.
        total: position of the end.
        ema_decay: of the averaged weights that are validated; 0 where they are not averaged.
        ema_power: of the averaged weights.

    Returns:
        None with fewer than six validations, before a third of the run, at its end, or where the rate has been nothing.
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
    """Sum of the learning rates up to each position, as the averaged weights have seen it.

    The average has the decay min(ema_decay, 1 - (1 + n)^-ema_power) after n updates, one at each position.

    Args:
        positions: rising, from 0.
        rates: learning rate at each.

    Returns:
        float64, same length, above 0.
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
    """Slope dP/dx now, exponent from now on, and scatter of the values about their course."""
    count = max(len(x) // QUARTER, 3)
    last, before = slice(len(x) - count, None), slice(max(len(x) - 2 * count, 0), len(x) - count)
    steepness, scatter = _line(x[last], y[last])
    earlier, _ = _line(x[before], y[before])
    steepness, earlier = max(steepness, LEAST_SLOPE), max(earlier, LEAST_SLOPE)
    seen = math.log(earlier / steepness) / float(x[last].mean() - x[before].mean())
    seen = min(max(seen, LEAST_SEEN), MOST_SEEN)
    return steepness, USUAL_EXPONENT + SEEN_SHARE * (seen - USUAL_EXPONENT), scatter


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of the regression line, and the standard deviation about it."""
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    residuals = y - y.mean() - slope * centred
    return slope, float(np.sqrt(residuals @ residuals / (len(x) - 2)))
