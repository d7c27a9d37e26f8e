"""The fidelity budget on synthetic curves: PSNR, gradients and discriminators that react to its decisions."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from paragonsr.automation.fidelity_budget import BELOW, FIRST_FACTOR, OUTSIDE, RETREAT, FidelityBudget
from paragonsr.automation.options import FidelityBudgetOptions
from paragonsr.automation.protocol import Decision, MetricValue, Validation

Make = Callable[..., Any]
EVERY = 100
"""Iterations between two validations."""
START = 32.0
"""PSNR of the start weights."""


class Finish:
    """A run whose PSNR follows the gradient ratio of its sharpening losses with a delay, and whose gradients drift.

    In one of three runs, what a ratio costs grows by half within five validations, or at once if it is `sudden`.

    A rollback takes PSNR back to where it was at the last validation within the budget.

    In the long run PSNR falls by `scale * ratio^power` dB; each validation covers 1 / lag of the rest of the way. The
    perceptual metric improves with the PSNR that is lost.
    """

    def __init__(self, seed: int, make_steps: Make, validations: int = 60, *, sudden: bool = False) -> None:
        random = self.random = np.random.default_rng(seed)
        self.make_steps, self.validations = make_steps, validations
        self.budget = float(random.choice([0.1, 0.25, 0.5, 1.0]))
        self.scale, self.power = float(np.exp(random.uniform(np.log(1e-3), np.log(5)))), random.uniform(0.6, 1.2)
        self.lag, self.noise = random.uniform(1, 6), random.uniform(0, 0.02)
        self.weight = float(np.exp(random.uniform(np.log(1e-3), np.log(1e2))))
        self.drift = random.uniform(-0.03, 0.06)
        self.jump, self.jump_at = random.choice([1.0, 1.0, 1.5]), int(random.integers(20, 50))
        if sudden:
            self.jump = 1.5
        self.rise = 1 if sudden else 5
        self.factor, self.lost, self.kept = 1.0, 0.0, 0.0
        self.automation = made(self.budget)
        self.seen: list[float] = []
        self.decisions: list[Decision] = []

    def run(self) -> "Finish":
        """Train to the end, or until the automation stops."""
        self._act(self._validation(0))
        for number in range(1, self.validations + 1):
            norm = self.weight * math.exp(self.drift * number)
            for end in (EVERY // 2, EVERY):
                self._act(self._steps((number - 1) * EVERY + end, norm))
            scale = self.scale * (1 + (self.jump - 1) * min(max((number - self.jump_at) / self.rise, 0.0), 1.0))
            goal = scale * (self.factor * norm) ** self.power
            self.lost += (goal - self.lost) / self.lag
            self._act(self._validation(number * EVERY))
            if any(decision.setting == "stop" for decision in self.decisions):
                break
        return self

    def _steps(self, end: int, norm: float) -> Any:
        count = EVERY // 2
        values = {"loss_weight/l1": 1.0, "loss_grad/l1": self.random.lognormal(0, 0.2, count)}
        values |= {"loss_weight/gan": self.factor, "loss_grad/gan": norm * self.random.lognormal(0, 0.4, count)}
        return self.make_steps(end, count, **values)

    def _validation(self, iteration: int) -> Validation:
        # The start is known exactly: it is what the budget is counted from.
        psnr = START - self.lost + (self.random.normal(0, self.noise) if iteration else 0.0)
        distance = 0.2 - 0.05 * math.sqrt(max(self.lost, 0.0)) + self.random.normal(0, 2e-4)
        if iteration:
            self.seen.append(START - psnr)
        if START - psnr <= self.budget:
            self.kept = self.lost
        return validation(iteration, psnr, distance)

    def _act(self, observation: Any) -> None:
        for decision in self.automation.observe(observation):
            self.decisions.append(decision)
            if decision.setting == "loss_weight/gan":
                self.factor = float(decision.value)  # type: ignore[arg-type]
            elif decision.setting == "rollback":
                self.lost = self.kept


def made(budget: float = 0.5, averaged_over: float = 1.0, **options: Any) -> FidelityBudget:
    given = FidelityBudgetOptions(enabled=True, budget=budget, **options)
    return FidelityBudget(given, "psnr", "flip", ["gan"], ["gan"], ["l1", "gan"], averaged_over)


def validation(iteration: int, psnr: float, distance: float) -> Validation:
    values = {"psnr": MetricValue(psnr, "higher", "psnr"), "flip": MetricValue(distance, "lower", "flip")}
    return Validation(iteration, {"val": values})


@dataclass
class Outcome:
    held: bool
    """Whether no validation lost more than 0.05 dB over the budget."""
    used: float
    """Largest loss within the budget, as a share of it."""


def outcomes(seeds: range, make_steps: Make) -> list[Outcome]:
    found = []
    for seed in seeds:
        finish = Finish(seed, make_steps).run()
        within = [lost for lost in finish.seen if lost <= finish.budget]
        found.append(Outcome(max(finish.seen) <= finish.budget + 0.05, max(within, default=0.0) / finish.budget))
    return found


def _require(found: list[Outcome]) -> None:
    assert np.mean([outcome.held for outcome in found]) >= 0.95
    assert np.median([outcome.used for outcome in found]) >= 0.8, "the budget is there to be used"


def test_the_budget_is_held_and_used(make_steps: Make) -> None:
    _require(outcomes(range(100), make_steps))


@pytest.mark.slow
def test_the_budget_is_held_and_used_in_a_thousand_runs(make_steps: Make) -> None:
    _require(outcomes(range(1000), make_steps))


def test_a_sudden_change_is_answered_within_five_validations(make_steps: Make) -> None:
    for seed in range(20):
        finish = Finish(seed, make_steps, sudden=True).run()
        over = [number for number, lost in enumerate(finish.seen) if lost > finish.budget + 0.05]
        assert not over or max(over) - min(over) < 5


def test_the_weights_start_at_the_ratio_whatever_is_configured(make_steps: Make) -> None:
    for weight in (1e-3, 1.0, 1e3):
        automation = made(start_ratio=0.05)
        begun = list(automation.observe(validation(0, 32.0, 0.2)))
        assert [(d.setting, d.value) for d in begun] == [("metric_floor/psnr", 31.5), ("loss_weight/gan", FIRST_FACTOR)]
        window = _window(make_steps, 50, weight, FIRST_FACTOR)
        (decision,) = automation.observe(window)
        assert decision.value == pytest.approx(0.05 / weight)
        assert not automation.observe(_window(make_steps, 100, weight, decision.value)), "it is where it should be"


def _window(make_steps: Make, end: int, norm: float, factor: Any, count: int = 50, **more: Any) -> Any:
    values = {"loss_weight/l1": 1.0, "loss_grad/l1": 1.0, "loss_weight/gan": factor, "loss_grad/gan": norm}
    return make_steps(end, count, **values, **more)


def _after_start(make_steps: Make, **options: Any) -> FidelityBudget:
    automation = made(**options)
    automation.observe(validation(0, 32.0, 0.2))
    automation.observe(_window(make_steps, 50, 1.0, FIRST_FACTOR))
    return automation


@pytest.mark.parametrize(
    "changed",
    [{"budget": 0.3}, {"start_ratio": 0.1}, {"patience": 300}, {"min_improvement": 0.5}, {"max_accuracy": 0.6}],
)
def test_each_key_changes_what_is_decided(changed: dict[str, Any], make_steps: Make) -> None:
    """D20."""
    made_by = []
    for options in ({}, changed):
        automation = _after_start(make_steps, **{"patience": 1500} | options)
        decisions: list[Decision] = []
        for number in range(1, 20):
            seen = {"accuracy": 0.7, "real": 1.0, "fake": 0.0}
            named = {f"learner/gan/{name}": value for name, value in seen.items()}
            decisions += automation.observe(_window(make_steps, 100 * number, 1.0, 0.02, **named))
            decisions += automation.observe(validation(100 * number, 31.9, 0.2 - 0.01 * min(number, 5)))
        made_by.append((automation.state.factor, decisions))
    assert made_by[0] != made_by[1]


def test_over_the_budget_the_weights_are_cut_and_below_it_raised(make_steps: Make) -> None:
    (raised,) = _after_start(make_steps).observe(validation(100, 31.9, 0.19))
    (cut,) = _after_start(make_steps).observe(validation(100, 31.4, 0.19))
    assert float(raised.value) > 0.02 > 2 * float(cut.value)  # type: ignore[arg-type]
    assert "PSNR is 0.600 dB below the start" in cut.reason


def test_far_over_the_budget_the_run_goes_back_and_continues_at_a_smaller_ratio(make_steps: Make) -> None:
    automation = _after_start(make_steps)
    (raised,) = automation.observe(validation(100, 31.9, 0.19))
    # Just below one and a half budgets it is only cut.
    assert [d.setting for d in automation.observe(validation(200, 31.2501, 0.19))] == ["loss_weight/gan"]
    back, cut = automation.observe(validation(300, 31.25, 0.19))
    assert (back.setting, back.value) == ("rollback", True)
    why, _, what = back.reason.partition(": ")
    assert why == "PSNR is 0.750 dB below the start, the budget is 0.5 dB"
    assert what == "back to the last weights within it, which lost 0.100 dB"
    first = float(raised.value) / 0.02
    assert first == pytest.approx(math.exp(0.8 * (0.45 - 0.3) / 0.5))
    assert cut.value == pytest.approx(cut.values["ratio"]), "a factor of 1 gives a ratio of 1 here"
    assert cut.values["ratio"] <= 0.02 * math.exp(-RETREAT)
    for number in range(4, 40):
        automation.observe(validation(100 * number, 31.999, 0.19))
    assert automation.state.ratio == pytest.approx(math.log(0.02) - BELOW), "it stays below the ratio that it fell from"


def test_five_validations_in_a_row_outside_the_budget_are_too_many(make_steps: Make) -> None:
    def settings(outside: int) -> list[str]:
        automation = _after_start(make_steps)
        return [d.setting for n in range(1, outside + 1) for d in automation.observe(validation(100 * n, 31.45, 0.19))]

    assert "rollback" not in settings(OUTSIDE - 1)
    assert settings(OUTSIDE).count("rollback") == 1
    assert settings(OUTSIDE + 1).count("rollback") == 1


def test_the_ratio_grows_no_faster_than_the_average_of_the_weights_shows(make_steps: Make) -> None:
    grown = []
    for averaged_over in (1.0, 100.0, 200.0, 1000.0):
        automation = _after_start(make_steps, averaged_over=averaged_over)
        for number in range(1, 11):
            automation.observe(validation(100 * number, 31.999, 0.19))
        grown.append(automation.state.ratio - math.log(0.02))
    assert grown == pytest.approx([10.0, 10.0, 5.0, 1.0])


def test_frequent_validations_do_not_keep_it_from_measuring(make_steps: Make) -> None:
    """D22 had the like: a history that was thrown away before it was long enough."""
    automation = made()
    automation.observe(validation(0, 32.0, 0.2))
    decided = []
    for number in range(1, 6):
        decided += automation.observe(_window(make_steps, 5 * number, 100.0, FIRST_FACTOR, count=5))
        decided += automation.observe(validation(5 * number, 31.999, 0.2))
    assert decided[0].value == pytest.approx(0.02 / 100)
    assert "not the wanted 0.02" in decided[0].reason


def test_gradients_that_grow_are_corrected_between_validations(make_steps: Make) -> None:
    automation = _after_start(make_steps)
    (decision,) = automation.observe(_window(make_steps, 100, 5.0, 0.02))
    assert decision.value == pytest.approx(0.02 / 5)
    assert decision.minor


def test_it_goes_back_and_then_stops_when_nothing_improves(make_steps: Make) -> None:
    automation = _after_start(make_steps, patience=1000)
    decisions = []
    for number in range(1, 20):
        improves = number < 5
        value = 0.2 - 0.01 * min(number, 4)
        decisions += automation.observe(validation(100 * number, 32.0 - 0.02 * number, value if improves else 0.19))
    back = next(d for d in decisions if "back to the weights" in d.reason)
    best = automation.state.ratio_of_best
    assert automation.state.ratio <= best + 1e-9
    stop = decisions[-1]
    assert (stop.setting, stop.value) == ("stop", True)
    assert decisions.index(stop) > decisions.index(back)
    assert stop.reason == "flip has not improved within the budget in 1000 iterations"


def test_a_better_value_over_the_budget_is_no_improvement(make_steps: Make) -> None:
    automation = _after_start(make_steps)
    automation.observe(validation(100, 31.0, 0.05))
    assert automation.state.best == -0.2


def test_a_discriminator_that_dominates_is_slowed_then_held_and_comes_back(make_steps: Make) -> None:
    automation = _after_start(make_steps)

    def factors(accuracy: float, gap: float, count: int) -> list[Any]:
        seen = {"accuracy": accuracy, "real": gap, "fake": 0.0}
        named = {f"learner/gan/{name}": value for name, value in seen.items()}
        windows = [_window(make_steps, 50 * (i + 2), 1.0, 0.02, **named) for i in range(count)]
        return [d.value for w in windows for d in automation.observe(w) if d.setting == "learner_lr/gan"]

    assert factors(0.97, 1.0, 7) == [0.5, 0.25, 0.125, 0.0625, 0.0]
    assert factors(0.85, 1.0, 3) == [], "between the limits nothing changes"
    assert factors(0.7, 1.0, 7) == [0.0625, 0.125, 0.25, 0.5, 1.0]
    assert factors(0.7, 9.0, 1) == [0.5], "a wide gap counts as well"


@pytest.mark.parametrize("cut", [1, 40, 111, 150])
def test_a_resume_in_the_middle_changes_nothing(cut: int, make_steps: Make) -> None:
    straight, resumed = Finish(3, make_steps), Finish(3, make_steps)
    observe, count = resumed.automation.observe, [0]

    def interrupted(observation: Any) -> Any:
        count[0] += 1
        if count[0] == cut:
            state = json.loads(json.dumps(resumed.automation.state_dict()))
            resumed.automation = made(resumed.budget)
            resumed.automation.load_state_dict(state)
        return resumed.automation.observe(observation) if count[0] >= cut else observe(observation)

    resumed._act = lambda observation: act(resumed, interrupted(observation))  # type: ignore[method-assign]
    assert straight.run().decisions == resumed.run().decisions


def act(finish: Finish, decisions: Any) -> None:
    for decision in decisions:
        finish.decisions.append(decision)
        if decision.setting == "loss_weight/gan":
            finish.factor = float(decision.value)
        elif decision.setting == "rollback":
            finish.lost = finish.kept


def test_the_factor_stays_within_bounds_when_nothing_reacts(make_steps: Make) -> None:
    """As in a dry run."""
    automation = _after_start(make_steps)
    windows = [_window(make_steps, 50 * number, 1e-4, FIRST_FACTOR) for number in range(2, 30)]
    decided = [d.value for window in windows for d in automation.observe(window)]
    assert decided[-1] == 1e6
    assert len(decided) == len(set(decided))


def test_a_validation_that_is_not_finite_or_without_the_metrics_is_ignored() -> None:
    automation = made()
    assert not automation.observe(validation(0, math.inf, 0.2))
    assert not automation.observe(Validation(0, {"val": {"psnr": MetricValue(32.0, "higher", "psnr")}}))
    assert automation.state.start is None
