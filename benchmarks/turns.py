"""Fair timing: all sides take turns, and CPU time is counted, so that load on the machine affects all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True)
class Timed:
    """CPU seconds of each turn of ours and of the reference."""

    ours: list[float]
    reference: list[float]

    @property
    def ratios(self) -> list[float]:
        """Reference divided by ours, of each turn, in ascending order."""
        return sorted(theirs / own for own, theirs in zip(self.ours, self.reference, strict=True))


def take_turns(sides: Mapping[str, Work], turns: int, warm: int = 2) -> dict[str, list[float]]:
    """CPU seconds of each turn of each side, after warm-up turns."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warm + turns):
        for name, work in sides.items():
            begun = time.process_time()
            work()
            if turn >= warm:
                found[name].append(time.process_time() - begun)
    return found


def compared(ours: Work, reference: Work, turns: int) -> Timed:
    """Time ours and a reference."""
    found = take_turns({"ours": ours, "reference": reference}, turns)
    return Timed(found["ours"], found["reference"])


def milliseconds(seconds: list[float]) -> str:
    """Median."""
    return f"{1000 * statistics.median(seconds):.2f}"
