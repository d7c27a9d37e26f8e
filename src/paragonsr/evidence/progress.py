"""How far a comparison is: which run, what it reached, and how long all of it still takes."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.markup import escape

from paragonsr.evidence.runner import PlannedRun


class Progress:
    """Says a line at the beginning and at the end of each run, and on a terminal what the run says meanwhile.

    Args:
        planned_runs: all runs of the comparison, in order.
    """

    def __init__(self, planned_runs: Sequence[PlannedRun]) -> None:
        self._runs = planned_runs
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._status = self._console.status("")
        self._took = {planned.name: planned.run.duration for planned in planned_runs if planned.done}

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(escape(text))

    def tell(self, text: str) -> None:
        """What the run that is going on says: shown until it says something else."""
        if self._console.is_terminal and text.strip():
            self._status.update(escape(text))

    @contextmanager
    def run(self, planned: PlannedRun) -> Iterator[None]:
        """While open, this run is going on."""
        number = self._runs.index(planned) + 1
        self.say(f"run {number} of {len(self._runs)}: {planned.arm.name}, seed {planned.seed}")
        began = time.monotonic()
        with self._status:
            yield
        run = planned.run
        # A run that was resumed took longer than what was left of it.
        self._took[planned.name] = took = max(time.monotonic() - began, run.duration)
        reached = [
            f"{name} {metric} {value.value:.4f}"
            for name, metrics in run.validations[-1].metrics.items()
            for metric, value in metrics.items()
        ]
        self.say(f"  {run.iteration} iterations in {_clock(took)}: {', '.join(reached)}{self._outlook()}")

    def _outlook(self) -> str:
        left = [planned for planned in self._runs if planned.name not in self._took]
        if not left:
            return ""
        return f"; {len(left)} run{'s' * (len(left) > 1)} left, about {_clock(remaining(self._runs, self._took))}"


def remaining(planned_runs: Sequence[PlannedRun], took: dict[str, float]) -> float:
    """Seconds that the runs which have not ended will take.

    Each is expected to take as long as its arm's others did, or, before one of them has ended, as long for each
    iteration as the other arms' runs.

    Args:
        planned_runs: all runs.
        took: seconds of those that have ended, by name; at least one.
    """
    ended = [planned for planned in planned_runs if planned.name in took]
    pace = sum(took[planned.name] for planned in ended) / sum(planned.arm.config.train.total_iter for planned in ended)
    total = 0.0
    for planned in planned_runs:
        if planned.name not in took:
            others = [took[other.name] for other in ended if other.arm.name == planned.arm.name]
            total += sum(others) / len(others) if others else pace * planned.arm.config.train.total_iter
    return total


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
