"""The forecast of the final value, on curves with a known end."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paragonsr.automation.forecast import ANNEALING_DB, ANNEALING_PER_SCATTER, Forecast, averaged_work, forecast

TOTAL = 6000.0
Rate = Callable[[float], float]


def _steps(position: float) -> float:
    return 2e-3 * 0.5 ** sum(position >= milestone * TOTAL for milestone in (2 / 3, 5 / 6, 11 / 12))


def _cosine(position: float) -> float:
    return 1e-3 * (1 + math.cos(math.pi * position / TOTAL))


def _late(position: float) -> float:
    return 2e-3 * min(1.0, (TOTAL - position) / (0.2 * TOTAL))


RATES = [_steps, _cosine, _late, lambda position: 5e-4]


def _curve(rate: Rate, exponent: float = 0.9, ema_decay: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Positions, and values that follow a power law of the work done."""
    grid = np.arange(0.0, TOTAL + 1)
    work = averaged_work(grid, np.array([rate(p) for p in grid]), ema_decay, 0.75)
    positions = np.arange(200.0, TOTAL + 1, 200)
    return positions, 32.5 - 0.8 * np.interp(positions, grid, work) ** -exponent


def _made(positions: np.ndarray, values: np.ndarray, known: int, rate: Rate, ema_decay: float = 0.0) -> Forecast:
    made = forecast(positions[:known].tolist(), values[:known].tolist(), rate, TOTAL, ema_decay)
    assert made is not None
    return made


@pytest.mark.parametrize("known", [10, 15, 20, 25])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("ema_decay", [0.0, 0.999])
def test_a_power_law_of_the_work_is_continued(rate: Rate, known: int, ema_decay: float) -> None:
    positions, values = _curve(rate, ema_decay=ema_decay)
    made = _made(positions, values, known, rate, ema_decay)
    gain, annealing = values[-1] - values[known - 1], 0 if rate(0) == rate(TOTAL) else ANNEALING_DB
    assert 0.75 * gain <= made.final - values[known - 1] <= 1.25 * gain + annealing
    assert made.low < values[-1] + annealing
    assert values[-1] < made.high


def test_the_course_of_the_rate_ahead_counts() -> None:
    positions, values = _curve(lambda position: 2e-3)
    finals = [_made(positions, values, 15, rate).final for rate in (lambda p: 2e-3, _late, _steps)]
    assert finals[1] > finals[2], "both are annealed, and the second does more work"
    assert finals[0] == pytest.approx(values[-1], abs=0.01), "not annealed at all"


def test_bringing_the_rate_down_gains_by_itself_and_more_where_the_figures_waver() -> None:
    positions, values = _curve(lambda position: 2e-3)
    stops: Rate = lambda p: 2e-3 if p <= 3020 else 1e-9  # noqa: E731
    wavering = values + np.tile([0.01, -0.01], 15)
    calm, restless = _made(positions, values, 15, stops), _made(positions, wavering, 15, stops)
    assert calm.final - values[14] == pytest.approx(ANNEALING_DB, abs=3e-3)
    assert restless.final - wavering[14] > ANNEALING_DB + ANNEALING_PER_SCATTER * 0.01
    assert calm.iterations_to_next_tenth is None
    loud = _made(positions, values + np.tile([0.04, -0.04], 15), 15, stops)
    assert loud.iterations_to_next_tenth is not None
    assert loud.iterations_to_next_tenth < 100, "the rate is brought down at once"


def test_averaged_weights_lag_behind() -> None:
    grid = np.arange(0.0, 2001)
    rates = np.full(2001, 1e-3)
    np.testing.assert_allclose(averaged_work(grid, rates, 0.0, 0.75)[1:], 1e-3 * grid[1:])
    seen = 0.0
    for n in range(1, 2001):
        decay = min(0.999, 1 - (1 + n) ** -0.75)
        seen = decay * seen + (1 - decay) * 1e-3 * n
    assert averaged_work(grid, rates, 0.999, 0.75)[-1] == pytest.approx(seen, rel=1e-9)
    coarse = np.linspace(0, 2000, 201)
    assert averaged_work(coarse, np.full(201, 1e-3), 0.999, 0.75)[-1] == pytest.approx(seen, rel=0.02)


@settings(max_examples=25)
@given(shift=st.floats(-30, 30), scale=st.floats(0.01, 100), known=st.integers(10, 29))
def test_neither_the_level_of_the_figure_nor_that_of_the_rate_matters(shift: float, scale: float, known: int) -> None:
    positions, values = _curve(_steps)
    made = _made(positions, values, known, _steps)
    other = _made(positions, values + shift, known, lambda p: scale * _steps(p))
    for name in ("final", "low", "high"):
        assert getattr(other, name) - shift == pytest.approx(getattr(made, name), abs=1e-6)
    assert made.low < made.final < made.high


def test_the_next_tenth_is_where_the_figure_is_a_tenth_higher() -> None:
    positions, values = _curve(_steps)
    made = _made(positions, values, 10, _steps)
    assert made.iterations_to_next_tenth is not None
    there = np.interp(positions[9] + made.iterations_to_next_tenth, positions, values)
    assert there - values[9] == pytest.approx(0.1, abs=0.02)
    assert _made(positions, values, 28, _steps).iterations_to_next_tenth is None


def test_a_run_that_has_hardly_left_its_start_may_surprise() -> None:
    positions, values = _curve(_steps)
    slow = values[0] + (values - values[0]) / 20
    made, sure = _made(positions, slow, 15, _steps), _made(positions, values, 15, _steps)
    # It has gained a twentieth of the other one, but may still gain three times as much.
    assert made.high - made.final > 3 * (sure.high - sure.final)
    assert (made.high - made.final) / (made.final - made.low) > (sure.high - sure.final) / (sure.final - sure.low)


def test_noise_widens_the_interval() -> None:
    positions, values = _curve(_steps)
    noisy = values + np.random.default_rng(0).normal(0, 0.05, len(values))
    quiet, loud = _made(positions, values, 15, _steps), _made(positions, noisy, 15, _steps)
    assert loud.high - loud.low > quiet.high - quiet.low + 0.05


def test_a_falling_figure_is_not_expected_to_fall_on() -> None:
    positions = np.arange(200.0, TOTAL, 200)
    values = np.where(positions < 1000, 31, 32 - positions / 1e5)
    made = _made(positions, values, 20, _steps)
    assert 0 < made.final - values[19] < ANNEALING_DB
    assert made.iterations_to_next_tenth is None


@pytest.mark.parametrize("known", [0, 5, 9, 30])
def test_nothing_is_said_before_a_third_of_the_run_nor_at_its_end(known: int) -> None:
    positions, values = _curve(_steps)
    assert forecast(positions[:known].tolist(), values[:known].tolist(), _steps, TOTAL) is None


def test_five_validations_say_nothing() -> None:
    assert forecast([1000, 2000, 3000, 4000, 5000], [31, 31.5, 31.7, 31.8, 31.9], _steps, TOTAL) is None


def test_without_a_rate_nothing_is_said() -> None:
    positions, values = _curve(_steps)
    assert forecast(positions[:20].tolist(), values[:20].tolist(), lambda p: 1e-3 * (p < 2000), TOTAL) is None


REAL = [
    31.307, 31.337, 31.389, 31.436, 31.479, 31.588, 31.749, 31.891, 31.990, 32.076,
    32.132, 32.177, 32.214, 32.246, 32.270, 32.289, 32.312, 32.328, 32.335, 32.350,
    32.364, 32.374, 32.382, 32.385, 32.394, 32.401, 32.409, 32.411, 32.411, 32.417,
]  # fmt: skip
"""Nano, rate 2e-3, MultiStepLR, average with decay 0.999: PSNR on Set14 every 143 of 4284 iterations."""


@pytest.mark.parametrize(("known", "error"), [(15, 0.05), (20, 0.03), (25, 0.01)])
def test_a_real_run(known: int, error: float) -> None:
    positions = [*(143.0 * n for n in range(1, 30)), 4284.0]
    rate = lambda p: 2e-3 * min((p + 1) / 72, 1) * 0.5 ** sum(p >= m for m in (2856, 3570, 3927))  # noqa: E731
    made = forecast(positions[:known], REAL[:known], rate, 4284, 0.999)
    assert made is not None
    assert made.final == pytest.approx(REAL[-1], abs=error)
    assert made.low < REAL[-1] < made.high
