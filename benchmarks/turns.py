"""Fair timing: all sides take turns, and CPU time is counted, so that load on the machine affects all of them."""

import statistics
import time
from dataclasses import dataclass

from paragonsr.timing import Work, in_turns


@dataclass(frozen=True)
class Timed:
    """CPU seconds of each turn of ours and of the reference."""

    ours: list[float]
    reference: list[float]

    @property
    def ratios(self) -> list[float]:
        """Reference divided by ours, of each turn, in ascending order."""
        return sorted(theirs / own for own, theirs in zip(self.ours, self.reference, strict=True))


def compared(ours: Work, reference: Work, turns: int) -> Timed:
    """Time ours and a reference."""
    found = in_turns({"ours": ours, "reference": reference}, turns, clock=time.process_time, warm_up=2)
    return Timed(found["ours"], found["reference"])


def milliseconds(seconds: list[float]) -> str:
    """Median."""
    return f"{1000 * statistics.median(seconds):.2f}"
