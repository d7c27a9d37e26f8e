"""Hold the rate while training pays, then anneal; go back and lower it when training comes apart."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from paragonsr.automation.options import LearningRateOptions
from paragonsr.automation.protocol import Decay, Decision, Observation, Steps

FLOOR = 0.01
"""Share of the scheduled rate that a decay ends with."""
ANNEALED = 0.02
"""A schedule that itself ends below this share of its peak needs no decay."""
SHARE, EXPONENT, LONGEST = 0.2, 0.1, 0.4
"""Decay of a network of 10 000 parameters as a share of the run (measured: a linear 20% is 0.05 dB above a linear 50%
at the seed's rate and 0.01 dB at ten times that, a cosine over the whole run is worst); how it grows with the
parameters, and its bound (unmeasured)."""
CERTAINTY = 3.0
"""Standard errors by which the expected gain must lie under the threshold: noise alone must not end the holding."""
FEWEST_BLOCKS, MOST_BLOCKS = 24, 256
DIVERGED = 3.0
"""Median loss of a window against the smoothed one before that counts as having come apart."""
RECOVERIES, RECOVERY = 4, 0.5


class LearningRate:
    """Decides once when the rate falls, how and to where; the rate never rises above the schedule.

    adaptive holds until either the smoothed loss is expected to fall by less than `improvement_threshold` per
    `adaptation_frequency` (regression of its logarithm over the later half of what was seen, three standard errors on
    the safe side), or the last share of the run begins. That share grows with the number of parameters. A decay that
    begins with the last share is linear; one that a plateau brought, with much of the run ahead, is exponential: it
    spends equal times at all scales of the rate.

    cosine and exponential begin after the warm-up; plateau halves the rate at each plateau. All end at the total.

    A loss that jumps to three times what it was in two windows running is a divergence: weights go back to the last
    good state and the rate to half, four times at most.

    Args:
        options: strategy, adaptation_frequency, improvement_threshold.
        total: iterations of the plan.
        warmup: iterations in which the rate rises.
        parameters: of the network.
        schedule_end: what the configured schedule ends with, as a share of its peak.
    """

    name = "intelligent_learning_rate_scheduler"
    watches = "the smoothed loss, its slope and the slope's uncertainty; the rate in force"
    may_change = "lr_factor/intelligent_learning_rate_scheduler, lr_factor/plateaus, lr_factor/recovery, rollback"

    def __init__(
        self, options: LearningRateOptions, total: int, warmup: int, parameters: int, schedule_end: float
    ) -> None:
        self.options, self.total, self.warmup = options, total, max(warmup, 0)
        self.share = min(SHARE * (parameters / 1e4) ** EXPONENT, LONGEST)
        self._schedule_anneals = schedule_end <= ANNEALED
        self.blocks: list[list[float]] = []
        """[position, log of the mean loss, steps] of consecutive stretches of training."""
        self.peak_lr = 0.0
        self.begun: float | None = None
        """Position where the decay began."""
        self.factor = 1.0
        self.alarms = 0
        self.recoveries = 0

    @property
    def latest(self) -> float:
        """Position where the decay begins at the latest."""
        return (1 - self.share) * self.total

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Look at windows of steps only."""
        if not isinstance(observation, Steps):
            return ()
        figures = observation.figures
        position = float(figures["position"][-1]) + 1
        loss = _total_loss(observation)
        self.peak_lr = max(self.peak_lr, float(figures["lr"].max()))
        if position <= self.warmup or not loss.size:
            return ()
        recovery = self._recover(loss)
        if recovery or self.alarms:
            return recovery
        self._remember(position, loss)
        if self.begun is not None:
            return ()
        lowered = float(figures["lr"][-1]) <= 0.5 * self.peak_lr * self.factor
        return self._choose(position, lowered)

    def _choose(self, position: float, lowered: bool) -> Sequence[Decision]:
        """The decay, if its time has come; `lowered`: somebody else has lowered the rate already."""
        if self.options.strategy in ("cosine", "exponential"):
            return self._begin(position, self.options.strategy, "the warm-up is over", {})
        if position >= self.latest:
            if self._schedule_anneals:
                return ()
            figures = {"share": self.share}
            return self._begin(position, "linear", f"the last {self.share:.0%} of the run begin", figures)
        if lowered and self.options.strategy == "adaptive":
            return ()
        gain, error = self._expected_gain()
        if gain + CERTAINTY * error >= self.options.improvement_threshold:
            return ()
        every = self.options.adaptation_frequency
        reason = f"the loss falls by {gain:.2%} +- {error:.2%} in {every} iterations"
        figures = {"gain": gain, "its_error": error}
        if self.options.strategy == "plateau":
            return self._halve(reason, figures)
        return self._begin(position, "exponential", reason, figures)

    def _begin(
        self, position: float, shape: Literal["cosine", "exponential", "linear"], reason: str, figures: dict[str, float]
    ) -> Sequence[Decision]:
        if position >= self.total:
            return ()
        self.begun = position
        decay = Decay(position, float(self.total), shape, FLOOR)
        return (Decision(self.name, f"lr_factor/{self.name}", decay, reason, figures),)

    def _halve(self, reason: str, figures: dict[str, float]) -> Sequence[Decision]:
        if self.factor <= FLOOR:
            return ()
        self.factor *= 0.5
        self.blocks = []  # what the loss does at the lower rate is another curve
        return (Decision(self.name, "lr_factor/plateaus", self.factor, reason, figures),)

    def _recover(self, loss: np.ndarray) -> Sequence[Decision]:
        """Go back when the loss has jumped in this window and in the one before it."""
        if len(self.blocks) < 4:
            return ()
        usual = float(np.exp(np.mean([block[1] for block in self.blocks[-4:]])))
        now = float(np.median(loss))
        self.alarms = self.alarms + 1 if now > DIVERGED * usual else 0
        if self.alarms < 2 or self.recoveries >= RECOVERIES:
            return ()
        self.alarms = 0
        self.recoveries += 1
        figures = {"loss": now, "before": usual}
        reason = f"the loss is {now / usual:.1f} times what it was"
        return (
            Decision(self.name, "rollback", True, f"{reason}: back to the last good state", figures),
            Decision(self.name, "lr_factor/recovery", RECOVERY**self.recoveries, f"{reason}: go on lower", figures),
        )

    def _remember(self, position: float, loss: np.ndarray) -> None:
        self.blocks.append([position, float(np.log(np.mean(loss))), float(len(loss))])
        if len(self.blocks) > MOST_BLOCKS:
            pairs = zip(self.blocks[::2], self.blocks[1::2], strict=False)
            odd = self.blocks[-1:] if len(self.blocks) % 2 else []
            self.blocks = [_merged(one, other) for one, other in pairs] + odd

    def _expected_gain(self) -> tuple[float, float]:
        """Relative fall of the loss that is expected in `adaptation_frequency` iterations, and its standard error."""
        later = np.array(self.blocks[len(self.blocks) // 2 :])
        if len(later) < FEWEST_BLOCKS or later[-1, 0] - later[0, 0] < self.options.adaptation_frequency:
            return float("inf"), 0.0
        x, y, weight = later.T
        weight = weight / weight.sum()
        centred = x - weight @ x
        spread = float(weight @ centred**2)
        slope = float(weight @ (centred * y)) / spread
        residuals = y - weight @ y - slope * centred
        # Neighbouring blocks share the slow wavering of the curve: their correlation leaves fewer independent ones.
        lag = (
            float(np.corrcoef(residuals[:-1], residuals[1:])[0, 1])
            if residuals[1:].std() * residuals[:-1].std() > 0
            else 0.0
        )
        inflation = (1 + max(lag, 0.0)) / (1 - min(max(lag, 0.0), 0.95))
        error = float(np.sqrt(inflation * (weight @ residuals**2) / spread / (len(later) - 2)))
        return -slope * self.options.adaptation_frequency, error * self.options.adaptation_frequency

    def state_dict(self) -> dict[str, Any]:
        """Everything but the options."""
        names = "blocks peak_lr begun factor alarms recoveries total".split()
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; of a run that its owner has lengthened, the decay is still to come."""
        state = dict(state)
        longer = state.pop("total") != self.total
        for name, value in state.items():
            setattr(self, name, value)
        if longer:
            self.begun = None


def _total_loss(window: Steps) -> np.ndarray:
    """Weighted sum of the losses of each step that has one and was finite."""
    labels = [name.removeprefix("loss/") for name in window.figures if name.startswith("loss/")]
    parts = [window.figures[f"loss/{label}"] * window.figures[f"loss_weight/{label}"] for label in labels]
    total = np.nansum(parts, axis=0) if parts else np.empty(0)
    return total[np.isfinite(total) & (total > 0)]


def _merged(one: list[float], other: list[float]) -> list[float]:
    steps = one[2] + other[2]
    return [(one[i] * one[2] + other[i] * other[2]) / steps for i in (0, 1)] + [steps]
