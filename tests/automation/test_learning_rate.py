"""The learning-rate automation on synthetic curves."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paragonsr.automation.learning_rate import FLOOR, RECOVERIES, LearningRate
from paragonsr.automation.options import LearningRateOptions
from paragonsr.automation.protocol import Decay, Decision, MetricValue, Steps, Validation

Make = Callable[..., Steps]
Curve = Callable[[np.ndarray], np.ndarray]
TOTAL = 60_000
STRATEGIES = ["adaptive", "cosine", "exponential", "plateau"]


def _run(
    curve: Curve,
    *,
    strategy: str = "adaptive",
    parameters: int = 10_000,
    total: int = TOTAL,
    window: int = 200,
    schedule: Callable[[float], float] = lambda position: 1.0,
    weight: Callable[[float], float] = lambda position: 1.0,
    averaged: bool = False,
    validation: Callable[[float], Validation] | None = None,
    resume_at: int | None = None,
    **keys: float,
) -> tuple[list[tuple[int, Decision]], Callable[[float], float]]:
    """Decisions, and the resulting factor at each position. A step of the simulation stands for `window` / 10."""

    def made() -> LearningRate:
        options = LearningRateOptions(enabled=True, strategy=strategy, **keys)  # type: ignore[arg-type]
        return LearningRate(options, total, 0, parameters, schedule(total - 1), averaged)

    automation, decisions = made(), []
    factors: dict[str, Callable[[float], float]] = {}

    def factor(position: float) -> float:
        return float(np.prod([f(position) for f in factors.values()]))

    for end in range(window, total + 1, window):
        if end == resume_at:
            state = json.loads(json.dumps(automation.state_dict()))
            automation = made()
            automation.load_state_dict(state)
        at = np.linspace(end - window, end - 1, 10)
        values = {"position": at, "lr": schedule(end - 1) * factor(end - 1), "loss/l1": curve(at)}
        values["loss_weight/l1"] = weight(end)
        seen = {name: np.broadcast_to(np.asarray(value, float), 10) for name, value in values.items()}
        if validation is not None and end % 1000 == 0:
            assert automation.observe(validation(end)) == ()
        for decision in automation.observe(Steps(end, seen)):
            decisions.append((end, decision))
            if decision.setting.startswith("lr_factor/"):
                value = decision.value
                is_decay = isinstance(value, Decay)
                factors[decision.setting] = value.factor if is_decay else lambda _, v=value: float(v)  # type: ignore
    return decisions, factor


def _power_law(seed: int, noise: float = 0.03) -> Curve:
    random = np.random.default_rng(seed)
    exponent, floor = random.uniform(0.25, 0.6), random.uniform(0.0, 0.004)
    return lambda at: (floor + 0.3 * (at + 50) ** -exponent) * random.lognormal(0, noise, len(at))


def _slow_fall(seed: int) -> Curve:
    """A loss that falls a fifth faster than a plateau, with noise that is correlated between windows."""
    random = np.random.default_rng(seed)
    noise, memory, wavering = random.uniform(0.01, 0.2), random.uniform(0, 0.8), 0.0

    def curve(at: np.ndarray) -> np.ndarray:
        nonlocal wavering
        wavering = memory * wavering + random.normal(0, 0.02)
        return 0.01 * np.exp(-1.2e-6 * at + wavering) * random.lognormal(0, noise, len(at))

    return curve


@pytest.mark.parametrize("make", [_power_law, pytest.param(_slow_fall, marks=pytest.mark.slow)])
def test_d22_noise_alone_never_ends_the_holding(make: Callable[[int], Curve]) -> None:
    early = 0
    for seed in range(500):
        made, _ = _run(make(seed), window=500)
        assert len(made) == 1
        early += made[0][0] < 0.75 * TOTAL
    assert early < 5, "a false plateau in under 1 %"


@pytest.mark.parametrize("knee", [3000, 20_000])
def test_a_plateau_begins_the_decay(knee: int) -> None:
    random = np.random.default_rng(0)
    curve = lambda at: 0.3 * np.minimum(at + 50, knee) ** -0.5 * random.lognormal(0, 0.02, len(at))  # noqa: E731
    ((at, decision),), factor = _run(curve)
    assert knee < at < knee + 0.4 * TOTAL
    assert isinstance(decision.value, Decay)
    assert (decision.value.shape, decision.value.end) == ("exponential", TOTAL)
    assert factor(TOTAL) == pytest.approx(FLOOR)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(3))
def test_d19_h3_one_decay_is_one_decision_and_never_raises_the_rate(strategy: str, seed: int) -> None:
    made, factor = _run(_power_law(seed), strategy=strategy)
    assert factor(TOTAL) <= FLOOR + 1e-12
    course = [factor(position) for position in range(0, TOTAL, 500)]
    assert max(course) <= 1.0
    decays = [d.value for _, d in made if isinstance(d.value, Decay)]
    assert len(decays) == 1, "one decay is one decision"


def test_h1_a_rising_loss_never_raises_the_rate() -> None:
    random = np.random.default_rng(0)
    rising = lambda at: 0.01 * (1 + at / TOTAL) * random.lognormal(0, 0.1, len(at))  # noqa: E731
    for strategy in STRATEGIES:
        made, factor = _run(rising, strategy=strategy)
        assert made
        values = [factor(position) for position in range(0, TOTAL, 100)]
        assert max(values) <= 1.0


def test_h1_d22_reductions_have_a_cumulative_floor() -> None:
    flat = lambda at: np.full(len(at), 0.01)  # noqa: E731
    made, _ = _run(flat, strategy="plateau", window=100)
    halvings = [d.value for _, d in made if d.setting == "lr_factor/plateaus"]
    assert 1 < len(halvings) <= 7
    assert min(halvings) >= FLOOR / 2  # type: ignore[type-var]


def test_divergence_goes_back_and_lower_and_gives_up() -> None:
    random = np.random.default_rng(0)
    bad = lambda at: np.where(at > 20_000, 1.0, 0.01) * random.lognormal(0, 0.1, len(at))  # noqa: E731
    made, factor = _run(bad)
    assert factor(TOTAL) < 0.02, "annealed all the same"
    rollbacks = [at for at, d in made if d.setting == "rollback"]
    assert rollbacks[0] in (20_400, 20_600)
    assert len(rollbacks) == RECOVERIES
    lower = [d.value for _, d in made if d.setting == "lr_factor/recovery"]
    assert lower == [0.5, 0.25, 0.125, 0.0625]


def test_a_restart_or_a_single_bad_window_is_no_divergence() -> None:
    random = np.random.default_rng(0)

    def bumpy(at: np.ndarray) -> np.ndarray:
        restart = 1 + 0.5 * ((at % 15_000) < 1000)
        spike = np.where((at > 30_000) & (at < 30_200), 50.0, 1.0)
        return 0.01 * (at + 50) ** -0.1 * restart * spike * random.lognormal(0, 0.1, len(at))

    made, _ = _run(bumpy)
    assert [d.setting for _, d in made if d.setting == "rollback"] == []


def test_losses_that_are_not_numbers_are_left_out() -> None:
    curve = _power_law(0)
    made, factor = _run(lambda at: np.where(np.arange(len(at)) % 3 == 0, np.nan, curve(at)))
    assert len(made) == 1
    assert factor(TOTAL) == pytest.approx(FLOOR)


def test_d10_capacity_counts_by_parameters() -> None:
    starts = []
    for parameters in (9_212, 200_000, 10_000_000, 10**12):
        made, _ = _run(_power_law(0), parameters=parameters, window=100)
        starts.append(made[0][0])
    assert starts == sorted(starts, reverse=True)
    assert starts[0] - starts[1] > 1000
    assert starts[-1] >= 0.6 * TOTAL - 100


def _flat(seed: int) -> Curve:
    random = np.random.default_rng(seed)
    return lambda at: 0.01 * random.lognormal(0, 0.02, len(at))


def _figure(value: float, better: str) -> Validation:
    return Validation(0, {"Set5": {"psnr": MetricValue(value, better, "test")}})  # type: ignore[arg-type]


@pytest.mark.parametrize(("better", "direction"), [("higher", 1), ("lower", -1)])
def test_d25_a_validation_figure_that_surely_improves_keeps_the_rate(better: str, direction: int) -> None:
    random = np.random.default_rng(0)
    improving = lambda at: _figure(30 + direction * at / 1e5 + random.normal(0, 0.01), better)  # noqa: E731
    worsening = lambda at: _figure(30 - direction * at / 1e5 + random.normal(0, 0.01), better)  # noqa: E731
    ((held, _),), _ = _run(_flat(0), validation=improving)
    ((begun, _),), _ = _run(_flat(0), validation=worsening)
    assert held == pytest.approx(0.8 * TOTAL, abs=200)
    assert begun < 0.5 * TOTAL


def test_a_changed_loss_weight_is_neither_progress_nor_divergence() -> None:
    jump = lambda at: 10.0 if at > 30_000 else 1.0  # noqa: E731
    made, _ = _run(_power_law(0), weight=jump)
    assert [d.setting for _, d in made] == ["lr_factor/intelligent_learning_rate_scheduler"]
    falling = lambda at: float(np.exp(-at / 10_000))  # noqa: E731
    ((at, _),), _ = _run(_flat(0), weight=falling)
    assert at < 0.5 * TOTAL, "a flat loss under a falling weight is flat"


@pytest.mark.parametrize(
    "key", [{"strategy": "plateau"}, {"improvement_threshold": 0.0}, {"adaptation_frequency": 20_000}]
)
def test_d20_each_key_is_read(key: dict[str, Any]) -> None:
    assert _run(_flat(0), **key)[0] != _run(_flat(0))[0]


def _wave(position: float) -> float:
    """Cosine with warm restarts."""
    return float(1 + np.cos(np.pi * (position % 21_000) / 21_000)) / 2


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda position: 1.0,
    "multistep": lambda position: 0.5 ** sum(position >= m for m in (40_000, 50_000, 55_000)),
    "steps late": lambda position: 0.5 ** sum(position >= m for m in (47_900, 59_950)),
    "cosine": lambda position: float(1 + np.cos(np.pi * position / TOTAL)) / 2,
    "restarts": _wave,
    "line": lambda position: min(1.0, (TOTAL - position) / (0.1 * TOTAL)),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("plateau", [False, True])
@pytest.mark.parametrize("averaged", [False, True])
def test_every_schedule_ends_annealed(schedule: str, strategy: str, plateau: bool, averaged: bool) -> None:
    course, curve = SCHEDULES[schedule], _flat(1) if plateau else _power_law(1)
    made, factor = _run(curve, strategy=strategy, schedule=course, window=50, averaged=averaged)
    assert course(TOTAL - 1) * factor(TOTAL) <= 0.02
    assert sum(isinstance(d.value, Decay) for _, d in made) <= 1
    assert all(factor(position) <= 1 for position in range(0, TOTAL, 1000))


@pytest.mark.parametrize("schedule", ["cosine", "line"])
def test_a_schedule_that_anneals_itself_is_left_alone(schedule: str) -> None:
    assert _run(_power_law(0), schedule=SCHEDULES[schedule])[0] == []


def test_multistep_is_annealed_once_at_its_end() -> None:
    ((at, decision),), factor = _run(_power_law(0), schedule=SCHEDULES["multistep"])
    assert at == pytest.approx(0.975 * TOTAL, abs=200), "a line from 1 at 80 % to 0 at the end meets 1/8 there"
    assert isinstance(decision.value, Decay)
    assert decision.value.shape == "linear"
    assert 0.125 * factor(TOTAL) == pytest.approx(FLOOR)


def test_averaged_weights_take_their_last_decay_from_an_eighth_in_the_last_two_thousandths() -> None:
    ((_, decision),), factor = _run(_power_law(0), schedule=SCHEDULES["multistep"], averaged=True)
    assert isinstance(decision.value, Decay)
    assert (decision.value.start, decision.value.end) == (pytest.approx(0.998 * TOTAL), TOTAL)
    assert 0.125 * factor(TOTAL) == pytest.approx(FLOOR)


@pytest.mark.parametrize("end", [1.0, 0.5, 0.25])
def test_averaged_weights_are_annealed_from_more_than_an_eighth_as_others_are(end: float) -> None:
    course: Callable[[float], float] = lambda position: 1.0 if position < TOTAL / 2 else end  # noqa: E731
    assert _run(_power_law(0), schedule=course, averaged=True)[0] == _run(_power_law(0), schedule=course)[0]


def test_positions_count_not_iterations(make_steps: Make) -> None:
    automation = LearningRate(LearningRateOptions(enabled=True), 1000, 0, 10_000, 1.0)
    losses = {"loss/l1": 0.01, "loss_weight/l1": 1.0, "lr": 1.0}
    begun = []
    for iteration in range(10, 401, 10):  # the plan of 1000 iterations is run in 400
        at = 2.5 * np.arange(iteration - 10, iteration)
        begun += [d.value for d in automation.observe(make_steps(iteration, 10, position=at, **losses))]
    (decay,) = begun
    assert isinstance(decay, Decay)
    assert decay.start == pytest.approx(800)
    assert decay.end == 1000


@settings(max_examples=20)
@given(
    strategy=st.sampled_from(STRATEGIES), seed=st.integers(0, 50), middle=st.integers(1, 59), knee=st.integers(1, 60)
)
def test_resumed_in_the_middle_it_decides_the_same(strategy: str, seed: int, middle: int, knee: int) -> None:
    def curve() -> Curve:
        random = np.random.default_rng(seed)
        return lambda at: 0.3 * np.minimum(at + 50, 1000 * knee) ** -0.5 * random.lognormal(0, 0.05, len(at))

    one = _run(curve(), strategy=strategy)[0]
    other = _run(curve(), strategy=strategy, resume_at=middle * 1000)[0]
    assert one == other


def test_a_lengthened_run_is_annealed_at_its_new_end(make_steps: Make) -> None:
    options = LearningRateOptions(enabled=True)
    automation = LearningRate(options, 1000, 0, 10_000, 1.0)
    automation.begun = 800.0
    longer = LearningRate(options, 2000, 0, 10_000, 1.0)
    longer.load_state_dict(automation.state_dict())
    at = np.arange(1640.0, 1650.0)
    (decision,) = longer.observe(make_steps(1650, 10, position=at, lr=1.0, **{"loss/l1": 0.01, "loss_weight/l1": 1.0}))
    assert isinstance(decision.value, Decay)
    assert decision.value.end == 2000
