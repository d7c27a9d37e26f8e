"""Prefetching changes only when batches are computed."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paragonsr.data.sampling import Batch, Prefetcher


@dataclass
class Counting:
    """Fake sampler: a batch holds its sample numbers; it records requests, and waits while closed."""

    asked: list[tuple[int, int]] = field(default_factory=list)
    opened: threading.Event = field(default_factory=threading.Event)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.opened.set()

    def batch(self, first_sample: int, count: int) -> Batch:
        self.asked.append((first_sample, count))
        self.opened.wait()
        time.sleep(self.seconds)
        if first_sample == 666:
            raise OSError("the disk is gone")
        numbers = np.arange(first_sample, first_sample + count)
        return Batch(numbers, -numbers, tuple(numbers.tolist()), tuple(map(str, numbers.tolist())))


@pytest.fixture(params=[0, 1, 3])
def workers(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def _numbers(prefetcher: Prefetcher, first: int, count: int) -> list[int]:
    return [int(number) for number in prefetcher.batch(first, count).lq]


requests = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)), max_size=25)


@given(requests, st.integers(0, 3), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_any_pattern_of_requests_gives_the_samplers_batches(
    pattern: list[tuple[int, int]], workers: int, depth: int
) -> None:
    with Prefetcher(Counting(), depth, workers) as prefetcher:  # type: ignore[arg-type]
        for first, count in pattern:
            assert _numbers(prefetcher, first, count) == list(range(first, first + count))
            assert len(prefetcher._ahead) <= depth * workers


def _settled(sampler: Counting) -> int:
    """Number of batches computed once the threads have nothing left to do."""
    before = -1
    while before != len(sampler.asked):
        before = len(sampler.asked)
        time.sleep(0.15)
    return before


@pytest.mark.parametrize(("first", "stride"), [(0, 4), (1000, 4), (8, 16)], ids=["begin", "resumed", "one of 4 ranks"])
def test_a_regular_training_computes_every_batch_once(first: int, stride: int) -> None:
    sampler = Counting()
    with Prefetcher(sampler, depth=2, workers=2) as prefetcher:  # type: ignore[arg-type]
        wanted = [(first + i * stride, 4) for i in range(30)]
        for request in wanted:
            prefetcher.batch(*request)
        _settled(sampler)
    surplus = [request for request in sampler.asked if request not in wanted]
    guesses_of_the_first_request = 4 if stride != 4 else 0
    assert all(sampler.asked.count(request) == 1 for request in wanted)
    assert len(surplus) <= 4 + guesses_of_the_first_request


def test_reads_ahead_no_farther_than_told() -> None:
    sampler = Counting()
    with Prefetcher(sampler, depth=3, workers=2) as prefetcher:  # type: ignore[arg-type]
        prefetcher.batch(0, 4)
        assert _settled(sampler) == 1 + 6
        assert max(sampler.asked) == (24, 4)


def test_batches_are_ready_when_the_training_step_was_long_enough() -> None:
    sampler = Counting(seconds=0.1)
    with Prefetcher(sampler, depth=1, workers=1) as prefetcher:  # type: ignore[arg-type]
        prefetcher.batch(0, 4)
        assert prefetcher.waited >= 0.1
        time.sleep(0.5)
        prefetcher.batch(4, 4)
        assert prefetcher.waited < 0.05


def test_without_workers_nothing_is_computed_ahead() -> None:
    sampler = Counting()
    with Prefetcher(sampler, workers=0) as prefetcher:  # type: ignore[arg-type]
        prefetcher.batch(0, 4)
        prefetcher.batch(4, 4)
    assert sampler.asked == [(0, 4), (4, 4)]


def test_an_error_comes_with_the_request_it_belongs_to(workers: int) -> None:
    with Prefetcher(Counting(), depth=2, workers=workers) as prefetcher:  # type: ignore[arg-type]
        prefetcher.batch(660, 3)
        prefetcher.batch(663, 3)
        with pytest.raises(OSError, match="the disk is gone"):
            prefetcher.batch(666, 3)
        assert _numbers(prefetcher, 669, 3) == [669, 670, 671]


def test_a_batch_that_failed_ahead_is_computed_again_when_it_is_needed() -> None:
    class ShortOfMemory(Counting):
        def batch(self, first_sample: int, count: int) -> Batch:
            if threading.current_thread() is not threading.main_thread():
                raise MemoryError
            return super().batch(first_sample, count)

    with Prefetcher(ShortOfMemory(), depth=1, workers=1) as prefetcher:  # type: ignore[arg-type]
        assert [_numbers(prefetcher, first, 2) for first in (0, 2, 4)] == [[0, 1], [2, 3], [4, 5]]


def test_close_ends_the_threads_and_drops_what_was_queued() -> None:
    sampler = Counting()
    prefetcher = Prefetcher(sampler, depth=5, workers=2)  # type: ignore[arg-type]
    prefetcher.batch(0, 4)
    _settled(sampler)
    sampler.opened.clear()
    prefetcher.batch(40, 4)  # ready; from now on batches 40 samples apart are predicted, none of which can be computed
    before = _settled(sampler)
    threading.Timer(0.2, sampler.opened.set).start()
    prefetcher.close()
    assert not [thread for thread in _threads() if thread.is_alive()]
    assert len(sampler.asked) == before, "what was queued behind the two that were under way is never begun"
    with pytest.raises(RuntimeError):
        prefetcher.batch(0, 4)


def _threads() -> Iterator[threading.Thread]:
    return (thread for thread in threading.enumerate() if thread.name.startswith("paragonsr-batch"))
