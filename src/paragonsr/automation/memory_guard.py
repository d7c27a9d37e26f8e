"""What follows when memory ran out: smaller pieces from now on."""

from collections.abc import Sequence
from typing import Any

from paragonsr.automation.protocol import Decision, Observation, Steps


class MemoryGuard:
    """Keeps the size of micro-batch that a step had to fall back to.

    The step itself redoes its samples in smaller pieces; without this it would fail first each time. For runs without
    `dynamic_batch_size_optimizer`, which does more.
    """

    name = "memory_guard"
    watches = "steps that ran out of memory"
    may_change = "micro_batch"

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Look for steps that ran out of memory."""
        if not isinstance(observation, Steps) or not observation.values["out_of_memory"].any():
            return ()
        worked = int(observation.values["micro_batch"][-1])
        reason = f"memory ran out; the same samples went through {worked} at a time"
        return (Decision(self.name, "micro_batch", worked, reason),)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: what it does depends on the present window alone."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
