"""Fair timing, for what is chosen by the clock: all sides take turns, A B B A, and one must win by a margin."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Work = Callable[[], object]
Clock = Callable[[], float]
"""Returns seconds since some moment."""


def clock_for(device: torch.device, threads: int = 1) -> Clock:
    """Clock of a measurement: load on the machine affects it as little as possible.

    Args:
        device: where the work is done.
        threads: threads of the CPU that share the work.

    Returns:
        CPU time of this process for a single thread of the CPU. The CPU time of several threads does not say when the
        last of them ends, and a GPU computes by itself: for these, the time that passes, on a GPU once its queue is
        empty.
    """
    return time.process_time if device.type == "cpu" and threads == 1 else passing(device)


def passing(device: torch.device) -> Clock:
    """Clock of the time that passes, for what is promised in it; on a GPU, once its queue is empty."""
    return (lambda: _after_gpu(device)) if device.type == "cuda" else time.perf_counter


def _after_gpu(device: torch.device) -> float:
    torch.cuda.synchronize(device)
    return time.perf_counter()


def in_turns(sides: Mapping[str, Work], turns: int, *, clock: Clock, warm_up: int = 0) -> dict[str, list[float]]:
    """Time all sides in turns; every second turn is in reverse order, so that no side always comes first.

    Args:
        sides: name to work.
        turns: timed turns.
        clock: see `clock_for`.
        warm_up: turns before them, which do not count.

    Returns:
        name to seconds of each timed turn.
    """
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warm_up + turns):
        for name in sides if turn % 2 == 0 else reversed(list(sides)):
            began = clock()
            sides[name]()
            seconds = clock() - began
            if turn >= warm_up:
                found[name].append(seconds)
    return found


def repeated(work: Work, total: float, *, clock: Clock, warm_up: int = 0, fewest: int = 2) -> list[float]:
    """Time the same work again and again, for about `total` seconds, and at least `fewest` times.

    Args:
        work: what is timed.
        total: seconds of all timed repetitions.
        clock: see `clock_for` and `passing`.
        warm_up: repetitions before them, which do not count.
        fewest: least number of timed repetitions.

    Returns:
        seconds of each timed repetition.
    """
    found: list[float] = []
    while len(found) < warm_up + fewest or sum(found[warm_up:]) < total:
        began = clock()
        work()
        found.append(clock() - began)
    return found[warm_up:]


def times_as_fast(seconds: Mapping[str, list[float]], usual: str, other: str) -> float:
    """Median over the turns of the usual side's time, divided by the other side's in the same turn."""
    pairs = zip(seconds[usual], seconds[other], strict=True)
    return statistics.median(own / max(its, 1e-9) for own, its in pairs)
