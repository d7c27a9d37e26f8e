"""Each schedule compared with torch's scheduler of the same name, and the warm-up."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from paragonsr.optim import schedules as schedule
from paragonsr.optim.options import (
    CosineOptions,
    CosinePeriodsOptions,
    CosineRestartsOptions,
    MultiStepOptions,
    OneCycleOptions,
    SchedulerOptions,
    WSDOptions,
)

TOTAL, LR = 200, 2e-3


def _torch_rates(make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]) -> list[float]:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    scheduler = make(optimiser)
    rates = []
    for _ in range(TOTAL):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


CASES = [
    (
        MultiStepOptions(milestones=[50, 120], gamma=0.5),
        lambda o: lr_scheduler.MultiStepLR(o, milestones=[50, 120], gamma=0.5),
    ),
    (CosineOptions(eta_min=1e-5), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=TOTAL, eta_min=1e-5)),
    (
        CosineRestartsOptions(T_0=30, T_mult=2, eta_min=1e-6),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=30, T_mult=2, eta_min=1e-6),
    ),
    (
        OneCycleOptions(pct_start=0.3),
        lambda o: lr_scheduler.OneCycleLR(o, max_lr=LR, total_steps=TOTAL, pct_start=0.3, cycle_momentum=False),
    ),
]


@pytest.mark.parametrize(("options", "make"), CASES, ids=lambda case: getattr(case, "type", ""))
def test_schedules_equal_torchs(
    options: SchedulerOptions, make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]
) -> None:
    factor = options.build(total=TOTAL, lr=LR)
    assert [LR * factor(i) for i in range(TOTAL)] == pytest.approx(_torch_rates(make), rel=1e-6, abs=1e-12)


def test_d29_the_first_step_is_warm_and_the_last_of_the_warm_up_has_the_full_rate() -> None:
    factor = schedule.warmed_up(schedule.constant(), 10)
    assert factor(0) == pytest.approx(0.1)
    assert factor(8) == pytest.approx(0.9)
    assert factor(9) == factor(10) == factor(1000) == 1.0


@pytest.mark.parametrize("warmup", [0, -1])
def test_no_warm_up(warmup: int) -> None:
    assert schedule.warmed_up(schedule.constant(), warmup)(0) == 1.0


@pytest.mark.parametrize(("shape", "half"), [("sqrt", 1 - 0.5**0.5), ("linear", 0.5), ("cosine", 0.5)])
def test_wsd_is_stable_and_then_decays_to_its_floor(shape: str, half: float) -> None:
    options = WSDOptions.model_validate({"decay_share": 0.25, "shape": shape, "eta_min": 2e-4})
    factor = options.build(total=100, lr=LR)
    assert {factor(i) for i in range(76)} == {1.0}
    assert factor(75 + 12.5) == pytest.approx(0.1 + 0.9 * half)
    assert factor(100) == pytest.approx(0.1)
    assert all(factor(i) > factor(i + 1) for i in range(75, 99))


@pytest.mark.parametrize(
    ("iteration", "factor"),
    [
        (0, 1.0),
        (50, 0.1 + 0.9 / 2),
        (100, 0.1),
        (101, 0.1 + 0.5 * 0.9 * (1 + math.cos(math.pi / 50)) / 2),
        (150, 0.1),
        (151, 0.1),
    ],
)
def test_periods_with_heights_as_basicsr_has_them(iteration: int, factor: float) -> None:
    options = CosinePeriodsOptions(periods=[100, 50], restart_weights=[1.0, 0.5], eta_min=1e-5)
    assert schedule.build(options, total=150, lr=1e-4)(iteration) == pytest.approx(factor, abs=1e-12)
