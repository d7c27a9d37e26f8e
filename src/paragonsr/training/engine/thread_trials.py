"""Steps timed with several numbers of CPU threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

from paragonsr.timing import in_turns, passing, times_as_fast

TURNS = 4
"""Timed steps with each number of threads, in turns."""


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Context with that number of threads; afterwards the number is as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def candidates() -> list[int]:
    """One, half and all threads that torch would use; just one on a single core."""
    most = torch.get_num_threads()
    return sorted({1, max(1, most // 2), most})


def time_threads(step: Callable[[], object], progress: Callable[[int, int], None]) -> dict[str, float]:
    """Time a step with each number of threads, by the time that passes.

    Args:
        step: the work; it must end only when it is done.
        progress: called with the number of steps done and their total.

    Returns:
        number of threads -> times as fast as a single thread, median over the turns.
    """
    numbers = candidates()
    total, done = len(numbers) * (TURNS + 1), iter(range(1, len(numbers) * (TURNS + 1) + 1))

    def work(number: int) -> None:
        with threads(number):
            step()
        progress(next(done), total)

    sides = {str(number): partial(work, number) for number in numbers}
    seconds = in_turns(sides, TURNS, clock=passing(torch.device("cpu")), warm_up=1)
    return {name: times_as_fast(seconds, "1", name) for name in sides}
