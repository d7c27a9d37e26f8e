"""The number of CPU threads of a run: timed in turns, journalled, kept by a resumed run, and never overruled."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from paragonsr.config import load_config
from paragonsr.data.decoding import unheard
from paragonsr.training import start
from paragonsr.training.control import automations
from paragonsr.training.engine import estimate, thread_trials
from paragonsr.training.engine.thread_trials import time_threads
from paragonsr.training.loop import Trainer
from paragonsr.training.replay import replay
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch would use two threads, and every run is long enough for the trial."""
    monkeypatch.setattr(automations, "FEWEST_ITERATIONS", 1)
    with thread_trials.threads(2):
        yield


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of threads at each step of the runs."""
    numbers: list[int] = []
    step = Trainer._step

    def noted(self: Trainer, settings: Any) -> Any:
        numbers.append(torch.get_num_threads())
        return step(self, settings)

    monkeypatch.setattr(Trainer, "_step", noted)
    return numbers


def _timed(monkeypatch: pytest.MonkeyPatch, speed: float) -> list[int]:
    """Let two threads be that many times as fast as one; returns a list with one entry for each trial."""
    trials: list[int] = []

    def timed(step: Callable[[], object], progress: Callable[[int, int], None]) -> dict[str, float]:
        step()
        trials.append(1)
        return {"1": 1.0, "2": speed}

    monkeypatch.setattr(start, "time_threads", timed)
    return trials


def _run(path: Path, *changes: str) -> TrainResult:
    return train(load_config(path, changes).config)


def _choices(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if entry["setting"] == "num_threads"]


def _weights(result: TrainResult) -> dict[str, list[float]]:
    weights = load_file(result.folder / "models" / "net_g_ema_12.safetensors")
    return {name: tensor.flatten().tolist() for name, tensor in weights.items()}


@pytest.mark.parametrize(("speed", "chosen"), [(1.04, 1), (1.06, 2)])
def test_the_choice_is_journalled_used_and_replayed(
    tiny_config: Configure,
    used: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    speed: float,
    chosen: int,
) -> None:
    trials = _timed(monkeypatch, speed)
    result = _run(tiny_config(), "train.total_iter=4")
    assert trials == [1]
    assert used == [chosen] * 4
    (entry,) = _choices(result.folder)
    assert (entry["iteration"], entry["to"], entry["values"]) == (0, chosen, {"1": 1.0, "2": speed})
    assert json.loads((result.folder / "run.json").read_text())["environment"]["threads"] == chosen
    assert (
        f"thread_choice: num_threads {chosen}: " in capfd.readouterr().err + (result.folder / "train.log").read_text()
    )
    assert list(replay(result.folder).differences()) == []


def test_a_resumed_run_keeps_the_number_and_its_bits(
    tiny_config: Configure, used: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    _timed(monkeypatch, 1.0)
    path = tiny_config()
    whole = _weights(_run(path, "name=whole"))
    torch.set_num_threads(2)
    _run(path, "name=parts", "train.total_iter=6")
    used.clear()
    torch.set_num_threads(2)  # as in a new process
    later = _timed(monkeypatch, 1.5)  # on another machine
    result = _run(path, "name=parts")
    assert later == []
    assert set(used) == {1}
    assert len(_choices(result.folder)) == 1
    assert _weights(result) == whole
    assert list(replay(result.folder).differences()) == []


@pytest.mark.parametrize("changes", [("num_threads=2",), ("num_threads=1",), ("fair=true",)])
def test_a_configured_number_is_untouched_and_a_fair_run_times_nothing(
    tiny_config: Configure, used: list[int], monkeypatch: pytest.MonkeyPatch, changes: tuple[str]
) -> None:
    trials = _timed(monkeypatch, 0.5)
    result = _run(tiny_config(), "train.total_iter=4", *changes)
    assert trials == []
    assert _choices(result.folder) == []
    assert set(used) == {1 if changes == ("num_threads=1",) else 2}


def test_the_trial_leaves_no_trace_in_the_bits(tiny_config: Configure) -> None:
    path = tiny_config()
    chosen = _run(path, "name=chosen")
    (entry,) = _choices(chosen.folder)
    assert _weights(chosen) == _weights(_run(path, "name=given", f"num_threads={entry['to']}"))


def test_a_run_that_repeats_the_clock_of_another_uses_its_number(
    tiny_config: Configure, used: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = _timed(monkeypatch, 0.5)
    path = tiny_config()
    first = _run(path, "name=first")
    trials.clear()
    torch.set_num_threads(2)
    again = _run(path, "name=again", f"path.system_stats={first.folder}")
    assert trials == []
    assert set(used) == {1}
    assert _choices(again.folder) == _choices(first.folder)
    assert _weights(again) == _weights(first)


def test_an_estimate_is_measured_with_the_number_that_the_run_would_choose(
    tiny_config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers: list[int] = []

    def timed(step: Callable[[], object], seconds: float, **rest: Any) -> list[float]:
        numbers.append(torch.get_num_threads())
        return [1.0]

    monkeypatch.setattr(estimate, "repeated", timed)
    config = load_config(tiny_config(), []).config
    for speed in (1.04, 1.06):
        monkeypatch.setattr(estimate, "time_threads", lambda *_, speed=speed: {"1": 1.0, "2": speed})
        estimate.estimate(config)
    assert numbers == [1, 2]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("load", [0.5, 1.0, 2.0])
def test_steps_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch, load: float) -> None:
    """The load changes from turn to turn by a factor, which must not decide."""
    torch.set_num_threads(8)
    now, order = [0.0], []

    def step() -> None:
        number = torch.get_num_threads()
        order.append(number)
        now[0] += {1: 4.0, 4: 2.0, 8: 1.0}[number] * load ** ((len(order) - 1) // 3)

    monkeypatch.setattr(thread_trials, "passing", lambda _: lambda: now[0])
    assert time_threads(step, unheard) == {"1": 1.0, "4": 2.0, "8": 4.0}
    assert order == [1, 4, 8, 8, 4, 1] * 2 + [1, 4, 8]
    assert torch.get_num_threads() == 8


@pytest.mark.parametrize(("most", "numbers"), [(1, [1]), (2, [1, 2]), (3, [1, 3]), (4, [1, 2, 4]), (16, [1, 8, 16])])
def test_one_half_and_all_threads_are_tried(most: int, numbers: list[int]) -> None:
    torch.set_num_threads(most)
    assert thread_trials.candidates() == numbers
