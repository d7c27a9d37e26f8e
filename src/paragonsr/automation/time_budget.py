"""A run that is given seconds ends in time, whatever the machine does meanwhile."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from paragonsr.automation.protocol import Decision, Observation, Steps, Validation

CHANGE_OF_REMAINING = 0.05
"""Share of the remaining iterations by which a new plan must differ."""
CHANGE_OF_ALL = 0.015
"""Share of all iterations by which a new plan must differ."""
CHANGE_SAID = 0.25
"""Share by which a new plan must differ from the one that was last said to be said."""
RECENT = 0.05
"""Share of the budget whose steps tell the present speed."""


class TimeBudget:
    """Moves the end of the run so that the budget is spent, neither more nor less.

    What remains of the plan is stretched or shortened with it (see Settings.pace), so that the run ends annealed. Steps
    and validations count; reading the data before the first step does not.

    Args:
        seconds: the budget.
        total: iterations that were planned.
        validate_every: iterations between two validations; 0 for none.
    """

    name = "time_budget"
    watches = "seconds of steps and validations"
    may_change = "total_iter"

    def __init__(self, seconds: float, total: int, validate_every: int) -> None:
        self.seconds, self.validate_every = seconds, validate_every
        self.total = self.said = total
        self.elapsed = 0.0
        self.validation = 0.0
        self.recent: list[list[float]] = []
        """[iterations, seconds] of the last windows."""
        self._before = 0

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Count the time, and plan again after each window of steps."""
        if isinstance(observation, Validation):
            self.elapsed += observation.seconds
            self.validation = observation.seconds
        if not isinstance(observation, Steps):
            return ()
        spent = float(observation.values["seconds"].sum())
        first = not self.recent and self._before == 0
        self.elapsed += spent
        made, self._before = observation.iteration - self._before, observation.iteration
        if first or made <= 0:
            return ()  # The first steps allocate, compile and choose kernels.
        self._remember(made, spent)
        return self._plan(observation.iteration)

    def _remember(self, made: int, spent: float) -> None:
        self.recent.append([float(made), spent])
        while len(self.recent) > 1 and sum(s for _, s in self.recent[1:]) > RECENT * self.seconds:
            del self.recent[0]

    def _plan(self, iteration: int) -> Sequence[Decision]:
        iterations, seconds = np.sum(self.recent, axis=0)
        each = seconds / iterations
        if self.validate_every:
            each += self.validation / self.validate_every
        left = max(int((self.seconds - self.elapsed - self.validation) / each), 1)
        remaining = self.total - iteration
        least = max(CHANGE_OF_REMAINING * remaining, CHANGE_OF_ALL * self.total, 1)
        if remaining <= 0 or abs(left - remaining) <= least:
            return ()
        self.total = iteration + left
        values = {"elapsed": self.elapsed, "seconds_per_iteration": float(each), "budget": self.seconds}
        reason = (
            f"{self.seconds - self.elapsed:.0f} s of {self.seconds:.0f} s are left, an iteration takes {each:.4f} s"
        )
        minor = abs(self.total - self.said) < CHANGE_SAID * self.said
        self.said = self.said if minor else self.total
        return (Decision(self.name, "total_iter", self.total, reason, values, minor=minor),)

    def state_dict(self) -> dict[str, Any]:
        """Time spent, the present plan, and the speed of the last windows."""
        names = ("total", "said", "elapsed", "validation", "recent")
        return {name: getattr(self, name) for name in names} | {"before": self._before}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        state = dict(state)
        self._before = state.pop("before")
        for name, value in state.items():
            setattr(self, name, value)
