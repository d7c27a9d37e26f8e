"""Early stopping on simulated curves."""

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from paragonsr.automation.early_stopping import EarlyStopping
from paragonsr.automation.options import EarlyStoppingOptions
from paragonsr.automation.protocol import Decay, Decision, Steps, Validation

Make = Callable[..., Steps]
MakeValidation = Callable[..., Validation]
TOTAL, EVERY = 60_000, 1000


class Simulation:
    """A simulated run at a rate of 1 that applies decays and is validated every 1000 iterations."""

    def __init__(self, make_steps: Make, make_validation: MakeValidation, **options: float) -> None:
        self._steps, self._validation = make_steps, make_validation
        chosen = {"patience": 3000, "min_improvement": 0.0005} | options
        self.options = EarlyStoppingOptions(enabled=True, **chosen)  # type: ignore[arg-type]
        self.automation = EarlyStopping(self.options, TOTAL)

    def run(
        self,
        values: Callable[[int, float], float],
        rate: Callable[[int], float] = lambda i: 1.0,
        better: str = "higher",
        resume_at: int | None = None,
    ) -> Iterator[tuple[int, Decision]]:
        factor: Callable[[float], float] = lambda position: 1.0  # noqa: E731
        for iteration in range(EVERY, TOTAL + 1, EVERY):
            if iteration == resume_at:
                state = json.loads(json.dumps(self.automation.state_dict()))
                self.automation = EarlyStopping(self.options, TOTAL)
                self.automation.load_state_dict(state)
            lr = rate(iteration) * factor(iteration)
            assert not self.automation.observe(self._steps(iteration, 1, lr=lr))
            for decision in self.automation.observe(
                self._validation(iteration, better=better, first=values(iteration, lr))
            ):
                yield iteration, decision
                if decision.setting == "stop":
                    return
                assert isinstance(decision.value, Decay)
                factor = decision.value.factor


def _power_law(seed: int, sigma: float = 0.01) -> Callable[[int, float], float]:
    random = np.random.default_rng(seed)
    exponent, height = random.uniform(0.3, 0.7), random.uniform(4, 30)
    return lambda i, lr: 36 - height * i**-exponent - 0.1 * lr + random.normal(0, sigma)


@pytest.fixture
def simulation(make_steps: Make, make_validation: MakeValidation) -> Callable[..., Simulation]:
    return lambda **options: Simulation(make_steps, make_validation, **options)


def test_d5_d6_noisy_rising_curves_are_never_stopped_before_the_decay(simulation: Callable[..., Simulation]) -> None:
    begun = 0
    for seed in range(400):
        first = next(simulation().run(_power_law(seed)), None)
        assert first is None or first[1].setting != "stop"
        begun += first is not None
    assert begun < 32, "and an early decay is rare: the flattest of these curves have one"


def test_a_flat_curve_is_annealed_and_then_stopped_and_the_gain_is_told(
    simulation: Callable[..., Simulation],
) -> None:
    noise = np.random.default_rng(0)
    made = list(simulation().run(lambda i, lr: 36 - 0.1 * lr + noise.normal(0, 0.002)))
    assert [d.setting for _, d in made] == ["lr_factor/early_stopping", "stop"]
    (begun, _), (stopped, stop) = made
    assert 8000 <= begun <= 20000
    assert begun + 3000 <= stopped < TOTAL
    assert stop.values["gain_of_annealing"] == pytest.approx(0.1, abs=0.02)
    assert "first, which decides" not in stop.reason
    assert f"annealing gained {stop.values['gain_of_annealing']:+.4f}" in stop.reason


def test_a_decay_that_lasts_to_the_end_of_the_plan_tells_its_gain_there(simulation: Callable[..., Simulation]) -> None:
    noise = np.random.default_rng(0)
    flat = simulation(patience=25_000, min_improvement=0.02)
    made = list(flat.run(lambda i, lr: 36 - 0.1 * lr + noise.normal(0, 0.002)))
    assert [d.setting for _, d in made] == ["lr_factor/early_stopping", "stop"]
    assert made[-1][0] == TOTAL
    assert made[-1][1].reason.startswith("the plan is at its end; annealing gained +0.09")
    assert made[-1][1].values["gain_of_annealing"] == pytest.approx(0.1, abs=0.02)


def test_no_decay_begins_where_the_plan_ends(simulation: Callable[..., Simulation]) -> None:
    assert list(simulation(patience=TOTAL - EVERY).run(lambda i, lr: 36)) == []


def test_what_annealing_gained_is_the_best_since_against_the_best_before(
    simulation: Callable[..., Simulation],
) -> None:
    lucky = lambda i, lr: 36 + 0.2 * (i == 5000) - 0.1 * lr  # noqa: E731 - one good validation at the full rate
    (*_, (_, stop)) = simulation().run(lucky)
    assert stop.values["gain_of_annealing"] == pytest.approx(-0.1, abs=0.01)


def test_d25_a_metric_that_falls_for_the_better(simulation: Callable[..., Simulation]) -> None:
    falling = list(simulation().run(lambda i, lr: 1 - i / 1e5, better="lower"))
    assert falling == []
    flat = list(simulation().run(lambda i, lr: 0.3, better="lower"))
    assert flat[-1][1].setting == "stop"
    assert flat[-1][1].values["best"] == 0.3


def test_d6_patience_is_iterations_and_begins_with_the_decay(simulation: Callable[..., Simulation]) -> None:
    steps_down = lambda i: 1.0 if i < 40_000 else 0.5  # noqa: E731
    rising_then_flat = lambda i, lr: min(i, 38_000) / 1000.0  # noqa: E731
    made = list(simulation().run(rising_then_flat, steps_down))
    assert [(i, d.setting) for i, d in made] == [(43_000, "stop")]


def test_d25_an_improvement_on_any_set_counts(make_steps: Make, make_validation: MakeValidation) -> None:
    automation = EarlyStopping(EarlyStoppingOptions(enabled=True, patience=2000), TOTAL)
    automation.observe(make_steps(1, 1, lr=1.0))
    automation.observe(make_steps(2, 1, lr=0.1))
    for iteration in range(1000, 9000, 1000):
        assert not automation.observe(make_validation(iteration, first=30.0, second=iteration / 1000))
    made = [automation.observe(make_validation(i, first=30.0, second=8.0)) for i in (9000, 10_000)]
    assert not made[0]
    assert "on first, which decides, nor on second, in 2000" in made[1][0].reason


def test_h4_the_recent_course_decides_not_the_oldest_points(simulation: Callable[..., Simulation]) -> None:
    fallen_and_rising = lambda i, lr: 30.0 if i < 4000 else 20 + i / 10_000  # noqa: E731
    assert list(simulation().run(fallen_and_rising)) == []
    flat_late = lambda i, lr: min(i, 15_000) / 1000.0  # noqa: E731
    assert [d.setting for _, d in simulation().run(flat_late)] == ["lr_factor/early_stopping", "stop"]


def test_min_improvement_is_what_counts(simulation: Callable[..., Simulation]) -> None:
    low_rate = lambda i: 1.0 if i < 2000 else 0.1  # noqa: E731
    crawling = lambda i, lr: i * 1e-7  # noqa: E731 - 0.0003 per patience
    assert [d.setting for _, d in simulation().run(crawling, low_rate)] == ["stop"]
    assert list(simulation(min_improvement=1e-5).run(crawling, low_rate)) == []


@pytest.mark.parametrize("middle", [3000, 12_000, 16_000, 20_000])
def test_resumed_in_the_middle_it_decides_the_same(simulation: Callable[..., Simulation], middle: int) -> None:
    def values() -> Callable[[int, float], float]:
        noise = np.random.default_rng(3)
        return lambda i, lr: 36 - 0.1 * lr + noise.normal(0, 0.002)

    assert list(simulation().run(values(), resume_at=middle)) == list(simulation().run(values()))


def test_a_lengthened_run_may_be_annealed_again(make_steps: Make, make_validation: MakeValidation) -> None:
    automation = EarlyStopping(EarlyStoppingOptions(enabled=True), TOTAL)
    automation.asked = automation.stopped = True
    longer = EarlyStopping(EarlyStoppingOptions(enabled=True), 2 * TOTAL)
    longer.load_state_dict(automation.state_dict())
    assert not longer.asked
    assert longer.total == 2 * TOTAL
