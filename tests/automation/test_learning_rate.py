"""The learning-rate automation on synthetic curves."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paragonsr.automation.learning_rate import FLOOR, RECOVERIES, LearningRate
from paragonsr.automation.options import LearningRateOptions
from paragonsr.automation.protocol import Decay, Decision, Steps

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
    resume_at: int | None = None,
) -> tuple[list[tuple[int, Decision]], Callable[[float], float]]:
    """Decisions, and the factor that they leave at each position. A step of the simulation stands for `window` / 10."""

    def made() -> LearningRate:
        options = LearningRateOptions(enabled=True, strategy=strategy)  # type: ignore[arg-type]
        return LearningRate(options, total, 0, parameters, schedule(total - 1))

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
        figures = {"position": at, "lr": schedule(end - 1) * factor(end - 1), "loss/l1": curve(at), "loss_weight/l1": 1}
        seen = {name: np.broadcast_to(np.asarray(value, float), 10) for name, value in figures.items()}
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


def test_d22_noise_alone_never_ends_the_holding() -> None:
    early = 0
    for seed in range(1000):
        made, _ = _run(_power_law(seed), window=1000)
        assert len(made) == 1
        early += made[0][0] < 0.75 * TOTAL
    assert early < 10, "a false plateau in under 1 %"


@pytest.mark.parametrize("knee", [3000, 20_000])
def test_a_plateau_begins_the_decay(knee: int) -> None:
    random = np.random.default_rng(0)
    curve = lambda at: 0.3 * np.minimum(at + 50, knee) ** -0.5 * random.lognormal(0, 0.02, len(at))  # noqa: E731
    ((at, decision),), factor = _run(curve)
    assert knee < at < 3 * knee + 6000
    assert isinstance(decision.value, Decay)
    assert (decision.value.shape, decision.value.end) == ("exponential", TOTAL)
    assert factor(TOTAL) == pytest.approx(FLOOR)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(3))
def test_it_always_ends_annealed_and_never_rises(strategy: str, seed: int) -> None:
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


def test_h1_reductions_have_a_cumulative_floor() -> None:
    flat = lambda at: np.full(len(at), 0.01)  # noqa: E731
    made, _ = _run(flat, strategy="plateau", window=100)
    halvings = [d.value for _, d in made if d.setting == "lr_factor/plateaus"]
    assert 1 < len(halvings) <= 7
    assert min(halvings) >= FLOOR / 2  # type: ignore[type-var]


def test_divergence_goes_back_and_lower_and_gives_up() -> None:
    random = np.random.default_rng(0)
    bad = lambda at: np.where(at > 20_000, 1.0, 0.01) * random.lognormal(0, 0.1, len(at))  # noqa: E731
    made, _ = _run(bad)
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
    for parameters in (9_212, 200_000, 10_000_000):
        made, _ = _run(_power_law(0), parameters=parameters, window=100)
        starts.append(made[0][0])
    assert starts == sorted(starts, reverse=True)
    assert starts[0] - starts[1] > 1000


def test_a_schedule_that_anneals_itself_is_left_alone() -> None:
    cosine = lambda position: (1 + np.cos(np.pi * position / TOTAL)) / 2  # noqa: E731
    assert _run(_power_law(0), schedule=cosine)[0] == []


def test_multistep_is_annealed_once_at_its_end() -> None:
    steps = lambda position: 0.5 ** sum(position >= m for m in (40_000, 50_000, 55_000))  # noqa: E731
    ((at, decision),), factor = _run(_power_law(0), schedule=steps)
    assert at == pytest.approx(48_200, abs=400)
    assert isinstance(decision.value, Decay)
    assert decision.value.shape == "linear"
    assert steps(TOTAL) * factor(TOTAL) < 0.02


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
