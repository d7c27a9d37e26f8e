"""Learning-rate schedules as pure functions of the position, without any state.

`factor(i)` is the factor on the base rate for the update at position i (the first update has position 0). For an
integer i, it equals the result of torch's scheduler of that name after i calls of `step()`.
"""

from collections.abc import Callable
from functools import partial

from paragonsr.optim.options import (
    CosineOptions,
    CosinePeriodsOptions,
    CosineRestartsOptions,
    MultiStepOptions,
    OneCycleOptions,
    PlateauOptions,
    SchedulerOptions,
    WSDOptions,
)
from paragonsr.ramps import fall

Factor = Callable[[float], float]


def warmed_up(schedule: Factor, warmup: int) -> Factor:
    """Add a linear warm-up: the first update has 1/warmup of the rate, update number `warmup` the full rate."""
    if warmup < 1:
        return schedule
    return lambda i: schedule(i) * min(1.0, (i + 1) / warmup)


def build(options: SchedulerOptions, *, total: int, lr: float) -> Factor:
    """Build the schedule described by `options`.

    Args:
        options: one of the scheduler options.
        total: iterations of the run.
        lr: base learning rate, used to convert floors given as learning rates.
    """
    makers: dict[str, Callable[..., Factor]] = {
        MultiStepOptions.tag(): multi_step,
        CosineOptions.tag(): cosine,
        CosineRestartsOptions.tag(): cosine_restarts,
        CosinePeriodsOptions.tag(): cosine_periods,
        WSDOptions.tag(): warmup_stable_decay,
        OneCycleOptions.tag(): one_cycle,
        PlateauOptions.tag(): constant,
    }
    return makers[options.type](options, total=total, lr=lr)


def constant(_options: object = None, *, total: int = 0, lr: float = 0.0) -> Factor:
    """Constant rate; ReduceLROnPlateau lowers it by decisions."""
    return lambda _: 1.0


def multi_step(options: MultiStepOptions, *, total: int, lr: float) -> Factor:
    """gamma^(number of milestones reached)."""
    return lambda i: float(options.gamma ** sum(i >= milestone for milestone in options.milestones))


def _half_cosine(progress: float, floor: float) -> float:
    return floor + (1 - floor) * fall("cosine", progress)


def cosine(options: CosineOptions, *, total: int, lr: float) -> Factor:
    """eta_min + (lr - eta_min) (1 + cos(pi i / T_max)) / 2, and eta_min beyond T_max."""
    length = options.T_max or total
    return lambda i: _half_cosine(min(i / length, 1.0), options.eta_min / lr)


def cosine_restarts(options: CosineRestartsOptions, *, total: int, lr: float) -> Factor:
    """Cosine cycles of length T_0, T_0 T_mult, T_0 T_mult^2 ..."""

    def factor(i: float) -> float:
        length = options.T_0
        while i >= length:
            i -= length
            length *= options.T_mult
        return _half_cosine(i / length, options.eta_min / lr)

    return factor


def cosine_periods(options: CosinePeriodsOptions, *, total: int, lr: float) -> Factor:
    """eta_min + weight (lr - eta_min) (1 + cos(pi i / period)) / 2, i counted from the start of the cycle.

    The update at which a cycle ends still belongs to it and has its floor, as in BasicSR.
    """
    floor = options.eta_min / lr

    def factor(i: float) -> float:
        cycles = zip(options.periods, options.restart_weights, strict=True)
        for period, weight in cycles:
            if i <= period:
                return floor + weight * (_half_cosine(i / period, floor) - floor)
            i -= period
        return floor

    return factor


def warmup_stable_decay(options: WSDOptions, *, total: int, lr: float) -> Factor:
    """Constant, then from (1 - decay_share) total a decay to eta_min in the given shape."""
    floor = options.eta_min / lr
    length = max(1, round(options.decay_share * total))
    start = total - length
    return lambda i: floor + (1 - floor) * fall(options.shape, min(max((i - start) / length, 0.0), 1.0))


def one_cycle(options: OneCycleOptions, *, total: int, lr: float) -> Factor:
    """Cosine from 1/div_factor up to 1 at pct_start, then down to 1/(div_factor final_div_factor)."""
    peak = options.pct_start * total - 1
    low, last = 1 / options.div_factor, 1 / (options.div_factor * options.final_div_factor)

    def between(start: float, end: float, progress: float) -> float:
        return end + (start - end) * fall("cosine", progress)

    up = partial(between, low, 1.0)
    down = partial(between, 1.0, last)

    def factor(i: float) -> float:
        if i <= peak:
            return up(i / peak)
        return down(min((i - peak) / max(total - 1 - peak, 1e-12), 1.0))

    return factor
