"""Learning-rate automation: hold the rate while the loss improves, then anneal; roll back on divergence."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from paragonsr.automation.context import RunContext
from paragonsr.automation.loss_curve import LossCurve, Losses, slope, weighted, window_losses
from paragonsr.automation.options import LearningRateOptions
from paragonsr.automation.protocol import Decay, Decision, Observation, Steps, Validation

FLOOR = 0.01
"""Final rate as a share of its peak."""
ANNEALED = 0.02
"""Share of the peak at or below which a rate needs no decay."""
AVERAGED = 0.125
"""Share of the peak rate at or below which averaged weights gain nothing from a decay (measured, see
docs/automations.md)."""
BRIEF_SHARE = 0.002
"""Length of the decay in that case, as a share of the run."""
BRIEF_ITERATIONS = 10
"""Minimum length of that decay, in iterations."""
LOWERED = 0.5
"""Share of the peak at or below which a rate has already been lowered, by the schedule or another automation."""
DECAY_SHARE = 0.2
"""Length of the decay for a network of 10 000 parameters, as a share of the run (measured, see docs/automations.md)."""
DECAY_EXPONENT = 0.1
"""Power of the parameter count with which that share grows (not measured)."""
LONGEST_DECAY = 0.4
"""Upper limit of that share (not measured)."""
CERTAINTY = 3.5
"""Standard errors by which the expected gain must lie below the threshold, so that noise alone cannot start the
decay."""
VALIDATION_CERTAINTY = 2.0
"""Standard errors by which the validation metric must rise for the rate to be held."""
FEWEST_VALIDATIONS = 6
"""Minimum number of validations for that judgement."""
DIVERGED = 3.0
"""Loss of two consecutive windows, relative to the mean of the windows before, that counts as divergence."""
RECENT_WINDOWS = 4
"""Number of preceding windows that a loss is compared with."""
RECOVERIES = 4
"""Maximum number of rollbacks; after them the automation no longer intervenes."""
RECOVERY_FACTOR = 0.5
"""Factor on the rate after each rollback."""

Shape = Literal["cosine", "exponential", "linear"]


class LearningRate:
    """Decides once when, how and how far the rate decays; the rate never rises above the schedule.

    adaptive holds the rate until training no longer pays off or the end is near. Training no longer pays off when the
    smoothed loss is expected to fall by less than `improvement_threshold` per `adaptation_frequency` (regression of its
    logarithm over the later half of the curve, with 3.5 standard errors of safety) and the validation metric does not
    clearly rise either. Much of the run is then still ahead, so the decay is exponential and spends equal time at all
    scales. The end is near when a straight line from the full rate at (1 - share) total to 0 at the total meets the
    current rate; from there on the rate follows that line. A schedule that is already below the line is left alone. One
    that falls in steps and ends too high is only lowered at the very end: in the last 0.2% of the run, if weights are
    averaged and the rate is at most an eighth of its peak.

    cosine and exponential start after the warm-up; plateau halves the rate at each plateau. All end at the total.

    A loss at three times its earlier level in two consecutive windows is a divergence: the weights return to the last
    good state and the rate is halved, at most four times.

    Args:
        options: strategy, adaptation_frequency, improvement_threshold.
        total: iterations of the plan.
        warmup: iterations of the warm-up.
        parameters: parameter count of the network; the length of the decay grows with it.
        schedule_end: last value of the configured schedule, as a share of its peak.
        averaged: whether the weights of the result are a moving average.
        metric: validation metric to watch, on the first validation set.
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
        """Losses of the latest windows."""
        self.validations: list[list[float]] = []
        """[position, value signed so that larger is better]."""
        self.position = 0.0
        self.window = 0.0
        """Maximum distance in positions from one window to the next."""
        self.peak_lr = 0.0
        self.looked = 0.0
        """Position at which the curve was last evaluated."""
        self.begun: float | None = None
        """Position at which the decay was decided."""
        self.factor = 1.0
        """Product of the reductions at plateaus."""
        self.alarms = 0
        self.recoveries = 0

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Process a window of steps or a validation; decisions are made at windows only."""
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
        """Start the decay if it is due; `now` is the rate as a share of its peak."""
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
        self.curve, self.validations = LossCurve(), []  # the lower rate starts a new curve
        return (Decision(self.name, "lr_factor/plateaus", self.factor, reason, values),)

    def _validation_rises(self) -> bool:
        later = np.array(self.validations[len(self.validations) // 2 :])
        if len(later) < FEWEST_VALIDATIONS:
            return False
        rise, error = slope(later[:, 0], later[:, 1])
        return rise > VALIDATION_CERTAINTY * error

    def _recover(self, losses: Losses, weights: Losses) -> Sequence[Decision]:
        """Remember a window, or roll back if the loss has jumped in it and in the one before."""
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
        """Continue from `state_dict`; if the user has extended the run, the decay is decided again."""
        state = dict(state)
        longer = state.pop("total") != self.total
        self.curve.load_state_dict(state.pop("curve"))
        for name, value in state.items():
            setattr(self, name, value)
        if longer:
            self.begun, self.curve, self.validations = None, LossCurve(), []


def build(options: LearningRateOptions, context: RunContext) -> LearningRate:
    """Build the automation for a run."""
    return LearningRate(
        options,
        context.total_iter,
        context.warmup_iter,
        context.parameters,
        context.schedule_end,
        context.averaged_over > 1,
        context.metric,
    )
