"""ReduceLROnPlateau as an automation, since this schedule depends on validation."""

from collections.abc import Sequence
from typing import Any

from paragonsr.automation.protocol import Decision, Observation, Validation


class ReduceOnPlateau:
    """Multiplies the learning rate by `factor` after `patience` iterations without a better validation metric.

    Same rule as torch's ReduceLROnPlateau (threshold mode "abs"), but patience counts iterations, and the direction
    (higher or lower is better) is that of the metric.

    Args:
        metric: name of the metric to watch, on the first validation set.
        factor: factor on the rate at each reduction, in (0, 1).
        patience: iterations without an improvement before a reduction.
        threshold: smallest change that counts as an improvement, in the metric's unit.
        min_factor: lower bound of the product of all reductions.
    """

    name = "plateau"
    watches = "the validation metric of ReduceLROnPlateau"
    may_change = "lr_factor/plateau"

    def __init__(self, metric: str, factor: float, patience: int, threshold: float, min_factor: float) -> None:
        self.metric, self.factor, self.patience = metric, factor, patience
        self.threshold, self.min_factor = threshold, min_factor
        self.best: float | None = None
        self.since = 0
        self.current = 1.0

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Process a validation; other observations are ignored."""
        if not isinstance(observation, Validation):
            return ()
        value = observation.deciding(self.metric)
        gain = 0.0 if self.best is None else value.value - self.best
        if value.better == "lower":
            gain = -gain
        if self.best is None or gain > self.threshold:
            self.best, self.since = value.value, observation.iteration
            return ()
        waited = observation.iteration - self.since
        if waited < self.patience or self.current <= self.min_factor:
            return ()
        self.current = max(self.current * self.factor, self.min_factor)
        self.since = observation.iteration
        return (
            Decision(
                automation=self.name,
                setting="lr_factor/plateau",
                value=self.current,
                reason=f"{self.metric} has not improved by {self.threshold:g} in {waited} iterations",
                values={"best": self.best, "now": value.value},
            ),
        )

    def state_dict(self) -> dict[str, Any]:
        """Best value, when it was reached, and the current factor."""
        return {"best": self.best, "since": self.since, "current": self.current}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.best, self.since, self.current = state["best"], state["since"], state["current"]
