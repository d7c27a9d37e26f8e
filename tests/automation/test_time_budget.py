"""Time budget on a simulated clock."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from paragonsr.automation.protocol import Steps, Validation
from paragonsr.automation.time_budget import TimeBudget

BUDGET = 180.0


def _spent(
    each: Callable[[float], float],
    make_steps: Callable[..., Steps],
    make_validation: Callable[..., Validation],
    planned: int,
    resume_at: int | None = None,
) -> tuple[float, int, list[int]]:
    """Seconds and iterations until the end, and the decided totals."""
    automation, total, elapsed, iteration = TimeBudget(BUDGET, planned, 1000), planned, 0.0, 0
    totals = []
    while iteration < total:
        seconds = []
        while iteration < total and (not seconds or iteration % 50):
            seconds.append(each(elapsed))
            elapsed += seconds[-1]
            iteration += 1
        if resume_at is not None and iteration >= resume_at:
            state, resume_at = json.loads(json.dumps(automation.state_dict())), None
            automation = TimeBudget(BUDGET, planned, 1000)
            automation.load_state_dict(state)
        made = list(automation.observe(make_steps(iteration, len(seconds), seconds=np.array(seconds))))
        if iteration % 1000 == 0 or iteration == total:
            elapsed += 0.8
            made += automation.observe(make_validation(iteration, seconds=0.8, set=30.0))
        for decision in made:
            assert decision.setting == "total_iter"
            total = int(decision.value)  # type: ignore[arg-type]
            totals.append(total)
    return elapsed, iteration, totals


@pytest.mark.parametrize("planned", [3000, 12_000, 40_000])
def test_it_ends_in_time_whatever_was_planned(
    planned: int, make_steps: Callable[..., Steps], make_validation: Callable[..., Validation]
) -> None:
    elapsed, iterations, _ = _spent(lambda now: 0.01, make_steps, make_validation, planned)
    assert elapsed == pytest.approx(BUDGET, rel=0.02)
    assert iterations > 15_000


def test_a_machine_that_is_slow_in_the_middle(
    make_steps: Callable[..., Steps], make_validation: Callable[..., Validation]
) -> None:
    noise = np.random.default_rng(0)

    def each(now: float) -> float:
        return (0.03 if 60 < now < 120 else 0.01) * noise.lognormal(0, 0.3)

    elapsed, _, totals = _spent(each, make_steps, make_validation, 18_000)
    assert elapsed == pytest.approx(BUDGET, rel=0.02)
    assert min(totals) < 11_000 < totals[-1], "shortened, then lengthened again"


def test_a_steady_machine_is_left_alone(
    make_steps: Callable[..., Steps], make_validation: Callable[..., Validation]
) -> None:
    noise = np.random.default_rng(0)
    _, _, totals = _spent(lambda now: 0.0096 * noise.lognormal(0, 0.2), make_steps, make_validation, 16_800)
    assert len(totals) <= 8


@pytest.mark.parametrize("middle", [50, 2000, 9000])
def test_resumed_in_the_middle_it_decides_the_same(
    middle: int, make_steps: Callable[..., Steps], make_validation: Callable[..., Validation]
) -> None:
    def run(resume_at: int | None) -> object:
        noise = np.random.default_rng(1)
        each = lambda now: 0.01 * noise.lognormal(0, 0.5)  # noqa: E731
        return _spent(each, make_steps, make_validation, 10_000, resume_at)

    assert run(middle) == run(None)
