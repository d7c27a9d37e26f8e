"""How far a comparison is: which run, what it reached, and how long all of it still takes."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.markup import escape

from paragonsr.evidence.runner import Leg


class Progress:
    """Says a line at the beginning and at the end of each run, and on a terminal what the run says meanwhile.

    Args:
        legs: all runs of the comparison, in order.
    """

    def __init__(self, legs: Sequence[Leg]) -> None:
        self._legs = legs
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._status = self._console.status("")
        self._took = {leg.name: leg.run.duration for leg in legs if leg.done}

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(escape(text))

    def tell(self, text: str) -> None:
        """What the run that is going on says: shown until it says something else."""
        if self._console.is_terminal and text.strip():
            self._status.update(escape(text))

    @contextmanager
    def run(self, leg: Leg) -> Iterator[None]:
        """While open, this run is going on."""
        number = self._legs.index(leg) + 1
        self.say(f"run {number} of {len(self._legs)}: {leg.arm.name}, seed {leg.seed}")
        began = time.monotonic()
        with self._status:
            yield
        run = leg.run
        # A run that was resumed took longer than what was left of it.
        self._took[leg.name] = took = max(time.monotonic() - began, run.duration)
        reached = [
            f"{name} {metric} {value.value:.4f}"
            for name, metrics in run.validations[-1].metrics.items()
            for metric, value in metrics.items()
        ]
        self.say(f"  {run.iteration} iterations in {_clock(took)}: {', '.join(reached)}{self._outlook()}")

    def _outlook(self) -> str:
        left = [leg for leg in self._legs if leg.name not in self._took]
        if not left:
            return ""
        return f"; {len(left)} run{'s' * (len(left) > 1)} left, about {_clock(remaining(self._legs, self._took))}"


def remaining(legs: Sequence[Leg], took: dict[str, float]) -> float:
    """Seconds that the runs which have not ended will take.

    Each is expected to take as long as its arm's others did, or, before one of them has ended, as long for each
    iteration as the other arms' runs.

    Args:
        legs: all runs.
        took: seconds of those that have ended, by name; at least one.
    """
    ended = [leg for leg in legs if leg.name in took]
    pace = sum(took[leg.name] for leg in ended) / sum(leg.arm.config.train.total_iter for leg in ended)
    total = 0.0
    for leg in legs:
        if leg.name not in took:
            others = [took[other.name] for other in ended if other.arm.name == leg.arm.name]
            total += sum(others) / len(others) if others else pace * leg.arm.config.train.total_iter
    return total


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
