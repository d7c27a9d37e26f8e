"""Choice of the number of CPU threads from steps that were timed in turns before the run."""

from collections.abc import Mapping, Sequence
from typing import Any

from paragonsr.automation.protocol import Decision, Measurements, Observation

TIMED = "threads"
"""Kind of the measurements: number of threads -> times as fast as a single thread."""
MARGIN = 1.05
"""Times as fast that a step must be with more threads: less is within the spread of the measurement, and the cores are
of use to others."""


def fewest_worth_it(speeds: Mapping[str, float]) -> int:
    """The fewest threads than which no larger number is MARGIN times as fast.

    Args:
        speeds: number of threads -> times as fast as a single thread; not empty.
    """
    chosen, *more = sorted(map(int, speeds))
    for number in more:
        if speeds[str(number)] >= MARGIN * speeds[str(chosen)]:
            chosen = number
    return chosen


class ThreadChoice:
    """Chooses the number of threads once. A resumed run keeps it, because sums depend on it in their last bit."""

    name = "thread_choice"
    watches = "the time that a step takes with one, half and all threads of the CPU, before the run"
    may_change = "num_threads"

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Decide when the steps were timed."""
        if not isinstance(observation, Measurements) or observation.kind != TIMED:
            return ()
        speeds = dict(observation.values)
        shown = ", ".join(f"{number}: {speed:.2f}" for number, speed in speeds.items())
        reason = f"steps in turns, times as fast by threads ({shown}); more threads must be {MARGIN} times as fast"
        return (Decision(self.name, "num_threads", fewest_worth_it(speeds), reason, speeds),)

    def state_dict(self) -> dict[str, Any]:
        """Empty: the choice is made only once."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
