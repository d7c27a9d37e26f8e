"""Memory guard: after running out of memory, smaller micro-batches are kept."""

from collections.abc import Sequence
from typing import Any

from paragonsr.automation.protocol import Decision, Observation, Steps


class MemoryGuard:
    """Keeps the micro-batch size that a step had to fall back to.

    The step itself repeats its samples in smaller micro-batches; without this automation, every step would first fail
    again. Used in runs without `dynamic_batch_size_optimizer`, which covers this case.
    """

    name = "memory_guard"
    watches = "steps that ran out of memory"
    may_change = "micro_batch"

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Detect steps that ran out of memory."""
        if not isinstance(observation, Steps) or not observation.values["out_of_memory"].any():
            return ()
        worked = int(observation.values["micro_batch"][-1])
        reason = f"memory ran out; the same samples went through {worked} at a time"
        return (Decision(self.name, "micro_batch", worked, reason),)

    def state_dict(self) -> dict[str, Any]:
        """Empty: decisions depend on the current window alone."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
