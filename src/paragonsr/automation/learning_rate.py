"""Hold the rate while training pays, then anneal; go back and lower it when training comes apart."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from paragonsr.automation.context import RunContext
from paragonsr.automation.loss_curve import LossCurve, Losses, slope, weighted, window_losses
from paragonsr.automation.options import LearningRateOptions
from paragonsr.automation.protocol import Decay, Decision, Observation, Steps, Validation

FLOOR = 0.01
"""Share of its peak that the rate ends with."""
ANNEALED = 0.02
"""A rate of at most this share of its peak needs no decay."""
AVERAGED = 0.125
"""Share of the peak rate from which on averaged weights gain nothing by a decay (measured, see docs/automations.md)."""
BRIEF_SHARE = 0.002
"""Share of the run that the decay then takes."""
BRIEF_ITERATIONS = 10
"""And the fewest iterations of it."""
LOWERED = 0.5
"""A rate at or below this share of its peak has been lowered already, by the schedule or by somebody else."""
DECAY_SHARE = 0.2
"""Decay of a network of 10 000 parameters as a share of the run (measured, see docs/automations.md)."""
DECAY_EXPONENT = 0.1
"""Power of the number of parameters by which that share grows (not measured)."""
LONGEST_DECAY = 0.4
"""Largest share of the run (not measured)."""
CERTAINTY = 3.5
"""Standard errors by which the expected gain must lie under the threshold: noise alone must not end the holding."""
VALIDATION_CERTAINTY = 2.0
"""Standard errors by which the validation metric must still rise to speak for holding."""
FEWEST_VALIDATIONS = 6
"""Validations that it takes to say so."""
DIVERGED = 3.0
"""Loss of two consecutive windows, relative to the mean of the windows before them, that counts as divergence."""
RECENT_WINDOWS = 4
"""Windows that a loss is compared with."""
RECOVERIES = 4
"""Rollbacks after which the run is left to itself."""
RECOVERY_FACTOR = 0.5
"""What the rate is multiplied by after each rollback."""

Shape = Literal["cosine", "exponential", "linear"]


class LearningRate:
    """Decides once when the rate falls, how and to where; the rate never rises above the schedule.

    adaptive holds until training has stopped to pay or the end is near. It has stopped to pay when the smoothed loss is
    expected to fall by less than `improvement_threshold` per `adaptation_frequency` (regression of its logarithm over
    the later half of what was seen, three standard errors on the safe side) and the validation metric does not surely
    rise either; much of the run is still ahead then, so the decay is exponential and spends equal times at all scales.
    The end is near when a straight line from the full rate at (1 - share) total to none at the total meets the present
    rate; from there on the rate follows that line. A schedule that has gone below the line is left alone, and one that
    comes down in steps and ends too high is only brought down at its very end; where weights are averaged and the rate
    is an eighth at most, in the last 0.2% of the run.

    cosine and exponential begin after the warm-up; plateau halves the rate at each plateau. All end at the total.

    A loss that is three times what it was in two windows running is a divergence: weights go back to the last good
    state and the rate to half, four times at most.

    Args:
        options: strategy, adaptation_frequency, improvement_threshold.
        total: iterations of the plan.
        warmup: iterations in which the rate rises.
        parameters: of the network; the share of the decay grows with them.
        schedule_end: what the configured schedule ends with, as a share of its peak.
        averaged: whether averaged weights are what comes out of the run.
        metric: validation metric that is watched, on the first validation set.
    """

    name = "intelligent_learning_rate_scheduler"
    watches = "the smoothed loss and the validation metric, whether they still improve, and the current learning rate"
    may_change = "lr_factor/intelligent_learning_rate_scheduler, lr_factor/plateaus, lr_factor/recovery, rollback"

    def __init__(
        self,
        options: LearningRateOptions,
        total: int,
        warmup: int,
        parameters: int,
        schedule_end: float,
        averaged: bool = False,
        metric: str = "psnr",
    ) -> None:
        self.options, self.total, self.warmup = options, total, max(warmup, 0)
        self.share = min(DECAY_SHARE * (parameters / 1e4) ** DECAY_EXPONENT, LONGEST_DECAY)
        self._schedule_end, self._metric = schedule_end, metric
        self._averaged = averaged
        self.curve = LossCurve()
        self.recent: list[Losses] = []
        """Losses of the last windows."""
        self.validations: list[list[float]] = []
        """[position, value, the larger the better]."""
        self.position = 0.0
        self.window = 0.0
        """Positions from one window to the next, at most."""
        self.peak_lr = 0.0
        self.looked = 0.0
        """Position of the last look at the curve."""
        self.begun: float | None = None
        """Position where the decay was decided."""
        self.factor = 1.0
        """Product of the reductions at plateaus."""
        self.alarms = 0
        self.recoveries = 0

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Take in a window of steps or a validation; decisions follow windows only."""
        if isinstance(observation, Validation):
            self._follow(observation)
        if not isinstance(observation, Steps):
            return ()
        values = observation.values
        position = float(values["position"][-1]) + 1
        self.position, self.window = position, max(self.window, position - self.position)
        self.peak_lr = max(self.peak_lr, float(values["lr"].max()))
        losses, weights = window_losses(observation)
        if position <= self.warmup:
            return ()
        recovery = self._recover(losses, weights)
        if self.begun is not None or position >= self.total:
            return recovery
        return [*recovery, *self._choose(float(values["lr"][-1]) / self.peak_lr, weights)]

    def _follow(self, validation: Validation) -> None:
        first = next(iter(validation.metrics.values()))
        if self._metric in first:
            value = first[self._metric]
            self.validations.append([self.position, value.value if value.better == "higher" else -value.value])

    def _choose(self, now: float, weights: Losses) -> Sequence[Decision]:
        """The decay, if its time has come; `now` is the rate as a share of its peak."""
        strategy = self.options.strategy
        if strategy in ("cosine", "exponential"):
            return self._begin(self.position, strategy, "the warm-up is over", {})
        last = self.share * now
        if self._averaged and now <= AVERAGED:
            last = min(last, max(BRIEF_SHARE, BRIEF_ITERATIONS / self.total))
        line = self.total * (1 - last)
        if self.position + self.window > line and self._schedule_end > ANNEALED and now > ANNEALED:
            reason = f"the last {last:.1%} of the run bring the rate down from {now:.0%} of its peak"
            return self._begin(max(self.position, line), "linear", reason, {"share": last, "rate": now})
        if strategy == "adaptive" and now <= LOWERED:
            return ()
        return self._at_plateau(weights)

    def _begin(self, position: float, shape: Shape, reason: str, values: dict[str, float]) -> Sequence[Decision]:
        self.begun = self.position
        floor = min(FLOOR / max(self._schedule_end, ANNEALED), LOWERED)
        decay = Decay(position, float(self.total), shape, floor)
        return (Decision(self.name, f"lr_factor/{self.name}", decay, reason, values),)

    def _at_plateau(self, weights: Losses) -> Sequence[Decision]:
        every = self.options.adaptation_frequency
        if self.position < self.looked + every:
            return ()
        self.looked = self.position
        trend = self.curve.trend(weights, every)
        if trend is None:
            return ()
        gain, error = -trend[0] * every, trend[1] * every
        if gain + CERTAINTY * error >= self.options.improvement_threshold or self._validation_rises():
            return ()
        reason = f"the loss falls by {gain:.2%} +- {error:.2%} in {every} iterations"
        values = {"gain": gain, "its_error": error}
        if self.options.strategy == "adaptive":
            return self._begin(self.position, "exponential", reason, values)
        if self.factor <= FLOOR:
            return ()
        self.factor *= 0.5
        self.curve, self.validations = LossCurve(), []  # what they do at the lower rate is another curve
        return (Decision(self.name, "lr_factor/plateaus", self.factor, reason, values),)

    def _validation_rises(self) -> bool:
        later = np.array(self.validations[len(self.validations) // 2 :])
        if len(later) < FEWEST_VALIDATIONS:
            return False
        rise, error = slope(later[:, 0], later[:, 1])
        return rise > VALIDATION_CERTAINTY * error

    def _recover(self, losses: Losses, weights: Losses) -> Sequence[Decision]:
        """Remember a window, or go back when the loss has jumped in it and in the one before it."""
        before, now = weighted(self.recent, weights), weighted([losses], weights)
        rise = float(now[0] / before.mean()) if before is not None and now is not None else 0.0
        if rise <= DIVERGED or len(self.recent) < RECENT_WINDOWS or self.recoveries >= RECOVERIES:
            self.alarms = 0
            self.recent = [*self.recent[1 - RECENT_WINDOWS :], losses]
            self.curve.add(self.position, losses)
            return ()
        self.alarms += 1
        if self.alarms < 2:
            return ()
        self.alarms = 0
        self.recoveries += 1
        reason, values = f"the loss is {rise:.1f} times what it was", {"rise": rise}
        return (
            Decision(self.name, "rollback", True, f"{reason}: back to the last good state", values),
            Decision(
                self.name,
                "lr_factor/recovery",
                RECOVERY_FACTOR**self.recoveries,
                f"{reason}: continue at a lower rate",
                values,
            ),
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything but the options."""
        names = "recent validations position window looked peak_lr begun factor alarms recoveries total".split()
        return {name: getattr(self, name) for name in names} | {"curve": self.curve.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; of a run that its owner has lengthened, the decay is still to come."""
        state = dict(state)
        longer = state.pop("total") != self.total
        self.curve.load_state_dict(state.pop("curve"))
        for name, value in state.items():
            setattr(self, name, value)
        if longer:
            self.begun, self.curve, self.validations = None, LossCurve(), []


def build(options: LearningRateOptions, context: RunContext) -> LearningRate:
    """The automation of a run."""
    return LearningRate(
        options,
        context.total_iter,
        context.warmup_iter,
        context.parameters,
        context.schedule_end,
        context.averaged,
        context.metric,
    )
