"""Early stopping: anneal, then stop, when validation no longer improves."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from paragonsr.automation.context import RunContext
from paragonsr.automation.options import EarlyStoppingOptions
from paragonsr.automation.protocol import Decay, Decision, Observation, Steps, Validation

FEWEST_POINTS = 8
"""Minimum number of validations for judging the curve."""
ANNEAL_SHARE = 0.2
"""Length of an early decay, as a share of the training before it (2405.18392 finds 10 to 20 % enough)."""
FLOOR = 0.01
CERTAINTY = 2.0
"""Standard errors by which a slope must lie below the one worth waiting for."""
FULL_RATE = 0.9
"""Share of the peak rate above which annealing has not begun."""


class EarlyStopping:
    """Patience that counts only while the learning rate is low.

    Super-resolution underfits: at a high rate, validation fluctuates around a curve that still rises, so a few
    validations without a new best mean nothing. Patience therefore counts only once the rate is at most half its peak.
    If no improvement comes within the patience before that, and the curve itself is flat (its slope over the later half
    of all validations plus two standard errors predicts less than `min_improvement` within the patience), the decay is
    started; after that, training stops. The gain from the decay is reported then, or at the end of the plan if that
    comes first.

    An improvement on any validation set counts; the values in the reasons are those of the first set, which also
    decides which weights are best.

    Args:
        options: patience, min_improvement.
        total: iterations of the plan, by which a decay ends at the latest.
        metric: name of the deciding metric.
    """

    name = "early_stopping"
    watches = "the learning rate and the metric on all validation sets"
    may_change = "lr_factor/early_stopping, stop"

    def __init__(self, options: EarlyStoppingOptions, total: int, metric: str = "psnr") -> None:
        self.options, self.total, self._metric = options, total, metric
        self.peak_lr = self.lr = self.position = 0.0
        self.ends = False
        """Whether the latest steps were the last ones of the plan."""
        self.best: dict[str, float] = {}
        self.since = 0
        self.points: list[list[float]] = []
        """[iteration, value on the first set, signed so that larger is better]."""
        self.at_full_rate = 0
        """Number of points measured before the rate began to fall."""
        self.was_annealing = False
        self.asked = False
        self.stopped = False

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Track the rate in steps, and decide at validations."""
        if isinstance(observation, Steps):
            self.lr = float(observation.values["lr"][-1])
            self.peak_lr = max(self.peak_lr, float(observation.values["lr"].max()))
            positions = observation.values["position"]
            self.position = float(positions[-1])
            stride = float(np.diff(positions, prepend=positions[0] - 1)[-1])
            self.ends = self.position + 1.5 * stride > self.total
            return ()
        if not isinstance(observation, Validation):
            return ()
        self._follow(observation)
        waited = observation.iteration - self.since
        if self.stopped or (waited < self.options.patience and not (self.asked and self.ends)):
            return ()
        if self.annealing:
            return self._stop(observation, waited)
        return self._anneal(observation, waited)

    @property
    def annealing(self) -> bool:
        """Whether the rate is at most half its peak."""
        return self.lr <= self.peak_lr / 2

    def _follow(self, validation: Validation) -> None:
        improved = False
        for number, (name, metrics) in enumerate(validation.metrics.items()):
            if self._metric not in metrics:
                continue
            figure = metrics[self._metric]
            value = figure.value if figure.better == "higher" else -figure.value
            if number == 0:
                self.points.append([float(validation.iteration), value])
            if name not in self.best or value > self.best[name] + self.options.min_improvement:
                self.best[name] = value
                improved = True
        if self.lr > FULL_RATE * self.peak_lr:
            self.at_full_rate = len(self.points)
        if self.annealing != self.was_annealing:
            # The rate has become low since the last validation: patience starts here.
            self.was_annealing = self.annealing
            improved = True
        if improved:
            self.since = validation.iteration

    def _anneal(self, validation: Validation, waited: int) -> Sequence[Decision]:
        if self.asked or self.ends or len(self.points) < FEWEST_POINTS:
            return ()
        iterations, values = np.array(self.points)[len(self.points) // 2 :].T
        slope, error = _slope(iterations, values)
        if (slope + CERTAINTY * error) * self.options.patience >= self.options.min_improvement:
            return ()
        self.asked, self.since = True, validation.iteration
        length = max(float(self.options.patience), ANNEAL_SHARE * self.position)
        end = min(self.position + length, float(self.total))
        if end <= self.position:
            return ()
        reason = f"{self._no_improvement(validation, waited)}, and the curve is flat: start annealing"
        figures = {"best": self._shown_best(validation), "slope_per_patience": slope * self.options.patience}
        figures["its_error"] = error * self.options.patience
        decay = Decay(self.position, end, "cosine", FLOOR)
        return (Decision(self.name, f"lr_factor/{self.name}", decay, reason, figures),)

    def _stop(self, validation: Validation, waited: int) -> Sequence[Decision]:
        self.stopped = True
        figures = {"best": self._shown_best(validation)}
        reason = "the plan is at its end"
        if waited >= self.options.patience:
            reason = f"{self._no_improvement(validation, waited)} since the rate became low"
        values = [value for _, value in self.points]
        before, since = values[: self.at_full_rate], values[self.at_full_rate :]
        if before and since:
            gain = max(since) - max(before)
            figures["gain_of_annealing"] = gain
            reason += f"; annealing gained {gain:+.4f}"
        return (Decision(self.name, "stop", True, reason, figures),)

    def _no_improvement(self, validation: Validation, waited: int) -> str:
        first, *others = validation.metrics
        beside = f", which decides, nor on {', '.join(others)}," if others else ""
        return (
            f"{self._metric} has not improved by {self.options.min_improvement:g} on {first}{beside} in {waited} "
            f"iterations (best {self._shown_best(validation):.4f})"
        )

    def _shown_best(self, validation: Validation) -> float:
        figure = validation.deciding(self._metric)
        best = max(value for _, value in self.points)
        return best if figure.better == "higher" else -best

    def state_dict(self) -> dict[str, Any]:
        """Everything but the options."""
        names = "peak_lr lr position ends best since points at_full_rate was_annealing asked stopped total".split()
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; a run that the user has extended may be annealed and stopped again."""
        state = dict(state)
        longer = state.pop("total") != self.total
        for name, value in state.items():
            setattr(self, name, value)
        if longer:
            self.asked = self.stopped = False
            self.peak_lr, self.at_full_rate, self.was_annealing = 0.0, 0, False


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of the regression line, and its standard error."""
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    residuals = y - y.mean() - slope * centred
    return slope, float(np.sqrt(residuals @ residuals / (len(x) - 2) / (centred @ centred)))


def build(options: EarlyStoppingOptions, context: RunContext) -> EarlyStopping:
    """Build the automation for a run."""
    return EarlyStopping(options, context.total_iter, context.metric)
