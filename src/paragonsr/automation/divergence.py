"""Guard against NaN: a single bad step is skipped; several in a row cause a rollback to the last good state."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from paragonsr.automation.protocol import Decision, Observation, Steps


class DivergenceGuard:
    """Asks for a rollback at a lower rate once `tolerance` consecutive updates had a non-finite gradient.

    The training step itself skips such updates; this automation decides what happens next. After `attempts` rollbacks
    it gives up and the run fails: a network that keeps diverging needs the user's attention.

    Args:
        tolerance: consecutive non-finite steps before a rollback.
        factor: factor on the learning rate at each rollback, in (0, 1).
        attempts: rollbacks before giving up.
    """

    name = "divergence_guard"
    watches = "whether the gradients are finite"
    may_change = "rollback, lr_factor/divergence, give_up"

    def __init__(self, tolerance: int = 5, factor: float = 0.5, attempts: int = 5) -> None:
        self.tolerance, self.factor, self.attempts = tolerance, factor, attempts
        self.consecutive = 0
        self.rollbacks = 0

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Count the non-finite steps at the end of the window."""
        if not isinstance(observation, Steps):
            return ()
        finite = observation.values["finite"] > 0
        last_good = np.flatnonzero(finite)
        if last_good.size:
            self.consecutive = len(finite) - 1 - int(last_good[-1])
        else:
            self.consecutive += len(finite)
        if self.consecutive < self.tolerance:
            return ()
        values = {"consecutive": float(self.consecutive), "rollbacks": float(self.rollbacks)}
        reason = f"the last {self.consecutive} gradients were not finite"
        self.consecutive = 0
        if self.rollbacks >= self.attempts:
            gave_up = f"{reason}, after {self.rollbacks} rollbacks"
            return (Decision(self.name, "give_up", True, gave_up, values),)
        self.rollbacks += 1
        lower = self.factor**self.rollbacks
        return (
            Decision(self.name, "rollback", True, f"{reason}: back to the last good state", values),
            Decision(self.name, "lr_factor/divergence", lower, f"{reason}: continue at a lower rate", values),
        )

    def state_dict(self) -> dict[str, Any]:
        """The two counters."""
        return {"consecutive": self.consecutive, "rollbacks": self.rollbacks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.consecutive, self.rollbacks = state["consecutive"], state["rollbacks"]
