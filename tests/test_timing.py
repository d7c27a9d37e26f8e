"""Fair timing: the order of the turns, the clock, and what load on the machine does to a comparison."""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from paragonsr.inference.engine import EngineNetwork
from paragonsr.timing import clock_for, in_turns, passing, repeated, times_as_fast


class Clock:
    """A clock that stands still unless work passes time on it; a loaded machine is `load` times as slow."""

    def __init__(self) -> None:
        self.now, self.load = 0.0, 1.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> Callable[[], None]:
        def passes() -> None:
            self.now += seconds * self.load

        return passes


def test_sides_alternate_and_warm_up_does_not_count() -> None:
    clock, order = Clock(), []
    sides = {name: lambda name=name: order.append(name) for name in "ab"}
    found = in_turns(sides, 2, clock=clock, warm_up=1)
    assert "".join(order) == "abbaab"
    assert found == {"a": [0.0, 0.0], "b": [0.0, 0.0]}


def test_the_ratio_is_that_of_the_same_turn() -> None:
    clock = Clock()

    def loaded() -> None:
        clock.work(3)()
        clock.load *= 4  # the machine grows busier from turn to turn

    found = in_turns({"slow": clock.work(6), "quick": clock.work(2), "load": loaded}, 3, clock=clock)
    assert found["slow"][0] != found["slow"][2]
    assert times_as_fast(found, "slow", "quick") == pytest.approx(3)
    assert times_as_fast({"a": [6, 6, 6], "b": [2, 2, 200]}, "a", "b") == 3, "one disturbed turn decides nothing"


@pytest.mark.parametrize(("total", "count"), [(0.0, 2), (1.9, 2), (2.0, 2), (2.1, 3), (10.0, 10)])
def test_work_is_repeated_until_its_time_is_used(total: float, count: int) -> None:
    clock = Clock()
    assert repeated(clock.work(1.0), total, clock=clock, warm_up=3) == [1.0] * count
    assert clock.now == 3 + count


def test_cpu_time_for_one_thread_and_passing_time_for_several() -> None:
    assert clock_for(torch.device("cpu")) is time.process_time
    assert clock_for(torch.device("cpu"), 2) is time.perf_counter
    assert clock_for(torch.device("mps")) is time.perf_counter
    assert passing(torch.device("cpu")) is time.perf_counter, "whatever the threads"


def test_a_gpu_is_read_once_its_queue_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    device = torch.device("cuda", 0)
    clock_for(device)()
    assert waited == [device]


@pytest.mark.parametrize(("engine_seconds", "chosen"), [(0.5, "quick"), (0.97, "torch"), (2.0, "torch")])
def test_an_engine_must_win_by_the_margin(monkeypatch: pytest.MonkeyPatch, engine_seconds: float, chosen: str) -> None:
    clock = Clock()

    class Network(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            clock.work(1.0)()
            return x

    def engine(given: np.ndarray) -> np.ndarray:
        clock.work(engine_seconds)()
        return given

    monkeypatch.setattr("paragonsr.inference.engine.clock_for", lambda *_: clock)
    network = EngineNetwork(Network(), {"quick": engine})
    network(torch.rand(1, 3, 128, 128))
    assert network.chosen == chosen
