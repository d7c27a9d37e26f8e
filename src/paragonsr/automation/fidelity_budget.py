"""Perceptual finish within a budget of PSNR: steers the weights of adversarial and perceptual losses."""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from paragonsr.automation.context import RunContext
from paragonsr.automation.discriminator_balance import DiscriminatorBalance
from paragonsr.automation.options import FidelityBudgetOptions
from paragonsr.automation.protocol import Decision, MetricValue, Observation, Steps, Validation

FIRST_FACTOR = 1e-3
"""Factor on the weights until their gradients have been measured."""
SMALLEST_FACTOR, LARGEST_FACTOR = 1e-6, 1e6
"""Bounds of the factor; only a dry run, whose measurements do not react, or weights that are far off come near them."""
FEWEST_STEPS = 20
"""Minimum number of steps that a ratio is measured on."""
DRIFT = 0.2
"""Logarithm by which the measured ratio may be off the wanted one without a correction."""
SMOOTHING = 0.3
"""Weight of the last window in the smoothed ratio, unless it is off by more than DRIFT."""
LOWEST, HIGHEST = 1e-5, 1e5
"""Bounds of the wanted ratio."""
GAIN = 0.8
"""Change of the ratio's logarithm, per validation, for a distance from the target as large as the budget."""
RAISE, CUT = 0.4, 1.5
"""Largest changes of the ratio's logarithm at one validation."""
FAR, LEAP = 0.1, 1.0
"""Share of the target below which PSNR has hardly been touched yet, and the largest raise there."""
OVER = 0.7
"""Smallest cut of the ratio's logarithm while PSNR is below the budget."""
LOOK_AHEAD = 2
"""Validations for which the trend of PSNR is extended before it is compared with the target, or as many as the average
of the weights looks back, if that is more."""
OVERRUN, OUTSIDE = 1.5, 5
"""PSNR lost, as a share of the budget, and validations outside the budget in a row: from either on, the run goes back
to the last weights within it."""
RETREAT, BELOW = 1.0, 0.5
"""Cut of the ratio's logarithm when the run goes back, and how far below the one that it then had it stays for good."""
MARGIN = 0.1
"""Share of the budget that is left as a margin, or twice the noise of PSNR if that is more; at most half of it."""
SMALLEST = 0.05
"""Smallest change of the ratio's logarithm that makes a decision."""
FEWEST_VALIDATIONS = 6
"""Validations without an improvement before the run may be stopped."""
RECENT = 8
"""Validations from which the noise of PSNR is estimated."""


@dataclass
class _State:
    """State of the automation."""

    start: float | None = None
    """PSNR of the start weights, in dB."""
    factor: float = FIRST_FACTOR
    """Factor on the configured weights of all sharpening losses, as last decided."""
    ratio: float = 0.0
    """Logarithm of the wanted gradient ratio."""
    total: float = 0.0
    """Sum of the logarithm of the ratio that a factor of 1 would give, over the steps since the last comparison."""
    count: int = 0
    base: float | None = None
    """Logarithm of the ratio that a factor of 1 gives, smoothed over windows; until it is known, the ratio is not
    raised."""
    losses: list[float] = field(default_factory=list)
    """PSNR lost at the last validations, in dB."""
    validated: int = 0
    """Iteration of the last validation."""
    outside: int = 0
    """Validations since PSNR was within the budget."""
    kept_lost: float = 0.0
    """PSNR lost at the last validation within the budget, in dB."""
    kept_ratio: float = 0.0
    """Logarithm of the wanted ratio then."""
    kept_base: float | None = None
    """Logarithm of the ratio that a factor of 1 gave then."""
    ceiling: float = math.log(HIGHEST)
    """Largest logarithm of the wanted ratio."""
    best: float | None = None
    """Best deciding value within the budget, signed so that larger is better."""
    ratio_of_best: float = 0.0
    since: int = 0
    """Iteration of the last improvement."""
    unimproved: int = 0
    """Validations since then."""
    holds: bool = False
    """Whether the weights are not raised, because raising them has not improved the deciding metric."""
    stopped: bool = False


class FidelityBudget:
    """Keeps PSNR within a budget of that of the start weights, while adversarial and perceptual losses sharpen.

    What is steered is the ratio of the gradients at the SR images: the weighted sum of the norms of the sharpening
    losses over that of the others. It starts at `start_ratio` whatever the configured weights are, and follows the PSNR
    that the validations find, extended by its trend: up while there is room, down as the target comes near. One factor
    on the weights of all sharpening losses makes the measured ratio the wanted one. If PSNR leaves the budget by far,
    or for long, the run goes back to its last weights within it, and continues at a smaller ratio.

    Args:
        options: budget, patience and so on.
        fidelity: name of the PSNR, on the first validation set.
        deciding: name of the deciding metric, on the first validation set.
        sharpening: labels of the adversarial and perceptual losses.
        learned: those of them that have a discriminator.
        losses: labels of all losses.
        averaged_over: iterations over which the average of the weights looks back, 1 without one; validations show a
            change of the ratio that late.
    """

    name = "fidelity_budget"
    watches = "PSNR and the deciding metric, the gradients of the losses, accuracy and logit gap of discriminators"
    may_change = "metric_floor, loss_weight, learner_lr, rollback, stop"

    def __init__(
        self,
        options: FidelityBudgetOptions,
        fidelity: str,
        deciding: str,
        sharpening: Sequence[str],
        learned: Sequence[str],
        losses: Sequence[str],
        averaged_over: float = 1.0,
    ) -> None:
        self._averaged_over = averaged_over
        self.options, self._fidelity, self._deciding = options, fidelity, deciding
        self._sharpening, self._others = list(sharpening), [label for label in losses if label not in sharpening]
        self.state = _State(ratio=math.log(options.start_ratio))
        self.balances = {label: DiscriminatorBalance(self.name, label, options.max_accuracy) for label in learned}

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Measure gradients and discriminators in steps; decide at validations."""
        if isinstance(observation, Steps):
            balanced = [d for balance in self.balances.values() for d in balance.observe(observation)]
            return [*balanced, *self._measured(observation)]
        if isinstance(observation, Validation):
            return self._validated(observation)
        return ()

    def _measured(self, steps: Steps) -> Sequence[Decision]:
        """Correct the factor if the measured ratio has left the wanted one."""
        state = self.state
        sharp, other = (self._gradient(steps, labels) for labels in (self._sharpening, self._others))
        measured = (sharp > 0) & (other > 0) & np.isfinite(sharp) & np.isfinite(other)
        logs = np.log(sharp[measured] / other[measured]) - math.log(state.factor)
        state.total, state.count = state.total + float(logs.sum()), state.count + len(logs)
        if state.start is None or state.count < FEWEST_STEPS:
            return ()
        first, found = state.base is None, state.total / state.count
        if state.base is None or abs(found - state.base) > DRIFT:
            state.base = found
        state.base += SMOOTHING * (found - state.base)
        state.total, state.count = 0.0, 0
        found = state.base + math.log(state.factor)
        if abs(state.ratio - found) <= DRIFT:
            return ()
        values = {"ratio": math.exp(found), "wanted": math.exp(state.ratio)}
        reason = f"gradients of adversarial and perceptual losses are {values['ratio']:.2g} of the others, not the "
        reason += f"wanted {values['wanted']:.2g}"
        return self._weights(state.ratio - found, reason, values, minor=not first)

    def _gradient(self, steps: Steps, labels: Sequence[str]) -> np.ndarray:
        """Weighted sum of the norms of some losses, for each step; losses that were not computed count nothing."""
        values = steps.values
        parts = [values[f"loss_weight/{label}"] * values[f"loss_grad/{label}"] for label in labels]
        found: np.ndarray = np.nansum(np.array(parts), axis=0)
        return found

    def _weights(self, change: float, reason: str, values: dict[str, float], *, minor: bool = False) -> list[Decision]:
        """Multiply the factor on the weights by e^change."""
        state, before = self.state, self.state.factor
        state.factor = min(max(before * math.exp(change), SMALLEST_FACTOR), LARGEST_FACTOR)
        if change and state.factor == before:
            return []
        return [
            Decision(self.name, f"loss_weight/{label}", state.factor, reason, values, minor=minor)
            for label in self._sharpening
        ]

    def _validated(self, validation: Validation) -> Sequence[Decision]:
        state = self.state
        first = next(iter(validation.metrics.values()), {})
        psnr, deciding = first.get(self._fidelity), first.get(self._deciding)
        if psnr is None or deciding is None or not math.isfinite(psnr.value):
            return ()
        if state.start is None:
            return self._begin(psnr.value, deciding, validation.iteration)
        lost = state.start - psnr.value
        interval, state.validated = validation.iteration - state.validated, validation.iteration
        state.losses = [*state.losses, lost][-RECENT:]
        state.outside = 0 if psnr.value >= self._floor else state.outside + 1
        if not state.outside:
            state.kept_lost, state.kept_ratio, state.kept_base = lost, state.ratio, state.base
        self._follow(deciding, validation.iteration)
        waited = validation.iteration - state.since
        if state.stopped:
            return ()
        if waited >= self.options.patience and state.unimproved >= FEWEST_VALIDATIONS:
            state.stopped = True
            reason = f"{self._deciding} has not improved within the budget in {waited} iterations"
            return (Decision(self.name, "stop", True, reason, {"best": abs(state.best or 0.0), "lost": lost}),)
        if state.outside and (lost >= OVERRUN * self.options.budget or state.outside >= OUTSIDE):
            return self._go_back(lost)
        return self._steer(lost, waited, max(interval, 1) / self._averaged_over)

    @property
    def _floor(self) -> float:
        assert self.state.start is not None
        return self.state.start - self.options.budget

    def _go_back(self, lost: float) -> Sequence[Decision]:
        """Return to the last weights within the budget, and continue from them at a smaller ratio."""
        state = self.state
        state.ceiling = min(state.ceiling, state.kept_ratio - BELOW)
        state.ratio = max(min(state.ratio, state.kept_ratio) - RETREAT, math.log(LOWEST))
        state.base, state.total, state.count = state.kept_base, 0.0, 0
        state.losses, state.outside = [state.kept_lost], 0
        values = {"lost": lost, "kept": state.kept_lost, "ratio": math.exp(state.ratio)}
        reason = f"PSNR is {lost:.3f} dB below the start, the budget is {self.options.budget:g} dB"
        back = f"{reason}: back to the last weights within it, which lost {state.kept_lost:.3f} dB"
        decisions = [Decision(self.name, "rollback", True, back, values)]
        if state.base is None:
            return decisions
        return [*decisions, *self._weights(state.ratio - state.base - math.log(state.factor), reason, values)]

    def _begin(self, psnr: float, deciding: MetricValue, iteration: int) -> Sequence[Decision]:
        state = self.state
        state.start, state.best, state.since = psnr, _signed(deciding), iteration
        state.ratio_of_best, state.validated = state.ratio, iteration
        state.losses, state.kept_ratio = [0.0], state.ratio
        reason = f"the start weights have {psnr:.3f} dB, the budget is {self.options.budget:g} dB"
        kept = Decision(self.name, f"metric_floor/{self._fidelity}", self._floor, reason, {self._fidelity: psnr})
        return [kept, *self._weights(0.0, "small until the gradients have been measured", {})]

    def _follow(self, deciding: MetricValue, iteration: int) -> None:
        """Note an improvement within the budget."""
        state, value = self.state, _signed(deciding)
        assert state.best is not None
        state.unimproved += 1
        if not state.outside and value - state.best > self.options.min_improvement * abs(state.best):
            state.best, state.ratio_of_best = value, state.ratio
            state.since, state.unimproved, state.holds = iteration, 0, False

    def _steer(self, lost: float, waited: int, settled: float) -> Sequence[Decision]:
        """Follow PSNR.

        Args:
            lost: PSNR lost, in dB.
            waited: iterations since the last improvement.
            settled: iterations since the last validation, as a share of those that the average looks back.
        """
        state, budget = self.state, self.options.budget
        ahead = min(max(LOOK_AHEAD, round(1 / settled)), RECENT - 1)
        target, expected = budget - self._margin(), lost + ahead * self._trend(ahead)
        pace = min(settled, 1.0)
        change = min(max(GAIN * (target - expected) / budget, -CUT), RAISE * pace)
        if max(expected, *state.losses) < FAR * target:
            change = LEAP * pace
        if lost > budget:
            change = min(change, -OVER)
        what = f"PSNR is {lost:.3f} dB below the start, {expected:.3f} dB are expected, the target is {target:.3f} dB"
        back = state.ratio_of_best - state.ratio
        if not state.holds and 2 * waited >= self.options.patience and state.unimproved >= FEWEST_VALIDATIONS // 2:
            state.holds = True
            if back < min(change, -SMALLEST):
                change = back
                what = f"{self._deciding} has not improved in {waited} iterations: back to the weights of its best"
        if state.holds:
            change = min(change, 0.0)
        change = min(max(state.ratio + change, math.log(LOWEST)), state.ceiling) - state.ratio
        if abs(change) < SMALLEST * pace or state.base is None:
            return ()
        state.ratio += change
        values = {"lost": lost, "expected": expected, "target": target, "ratio": math.exp(state.ratio)}
        return self._weights(state.ratio - state.base - math.log(state.factor), what, values)

    def _trend(self, over: int) -> float:
        """Change of the lost PSNR per validation, in dB: over the last ones, or fewer for want of more."""
        losses = self.state.losses[-over - 1 :]
        return (losses[-1] - losses[0]) / max(len(losses) - 1, 1)

    def _margin(self) -> float:
        """Distance of the target from the budget, in dB."""
        losses, noise = np.array(self.state.losses), 0.0
        if len(losses) >= 4:
            # The second difference of a smooth curve is small, and that of white noise has six times its variance.
            noise = float(np.sqrt(np.mean(np.diff(losses, 2) ** 2) / 6))
        budget = self.options.budget
        return min(max(MARGIN * budget, 2 * noise), budget / 2)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the options."""
        balances = {label: balance.state_dict() for label, balance in self.balances.items()}
        return asdict(self.state) | {"balances": balances}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; a run that was stopped and is then extended continues."""
        state = deepcopy(state)
        for label, balance in state.pop("balances").items():
            if label in self.balances:
                self.balances[label].load_state_dict(balance)
        self.state = _State(**state | {"stopped": False})


def _signed(value: MetricValue) -> float:
    return value.value if value.better == "higher" else -value.value


def build(options: FidelityBudgetOptions, context: RunContext) -> FidelityBudget:
    """Build the automation for a run."""
    return FidelityBudget(
        options,
        context.fidelity_metric,
        context.metric,
        context.sharpening,
        context.learned,
        context.losses,
        context.averaged_over,
    )
