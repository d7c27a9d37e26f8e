"""Real processes: one is killed while packing, several need the same store."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from paragonsr.data.options import SingleOptions
from paragonsr.data.packed import open_packed

PACK = """
import sys
from paragonsr.data.options import SingleOptions
from paragonsr.data.packed import open_packed

hr, cache, pause_at = sys.argv[1], sys.argv[2], int(sys.argv[3])

def progress(done, total):
    if done == pause_at:
        print("middle", flush=True)
        sys.stdin.readline()

print("begin", flush=True)
store = open_packed(SingleOptions(dataroot_gt=hr, store_root=cache), 2, "train", progress)
print(store.fingerprint, flush=True)
"""
NEVER = 0

Pack = Callable[[int], "subprocess.Popen[str]"]


@pytest.fixture
def options(images: Callable[..., Path], single: Callable[..., SingleOptions]) -> SingleOptions:
    random = np.random.default_rng(0)
    return single(images("hr", {f"{i}.png": random.integers(0, 256, (16, 20, 3), np.uint8) for i in range(8)}))


@pytest.fixture
def pack(options: SingleOptions, cache: Path) -> Iterator[Pack]:
    """Starts a process that packs; it prints "begin", "middle" after a number of images, and the hash at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(pause_at: int) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", PACK, str(options.dataroot_gt), str(cache), str(pause_at)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def _waits(process: "subprocess.Popen[str]") -> bool:
    try:
        process.wait(0.6)
    except subprocess.TimeoutExpired:
        return True
    return False


def _kill(process: "subprocess.Popen[str]") -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def _whole_stores(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir() and path.suffix != ".partial"]


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize("pause_at", [1, 8])
def test_killed_while_packing(pack: Pack, options: SingleOptions, cache: Path, pause_at: int) -> None:
    process = pack(pause_at)
    assert [_said(process), _said(process)] == ["begin", "middle"]
    _kill(process)
    assert _whole_stores(cache) == [], "half a store is never taken for a whole one"
    done: list[int] = []
    store = open_packed(options, 2, "train", lambda i, total: done.append(i))
    assert done == list(range(1, 9))
    assert store.damaged() == []
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [_whole_stores(cache)[0].name], "tidied up"


def test_two_processes_want_the_same_store(pack: Pack, options: SingleOptions, cache: Path) -> None:
    first = pack(4)
    assert [_said(first), _said(first)] == ["begin", "middle"]
    second = pack(1)
    assert _said(second) == "begin"
    assert _waits(second)
    _go_on(first)
    fingerprint = _said(first)
    assert _said(second) == fingerprint, "the second one packs nothing, or it would say 'middle'"
    assert first.wait() == second.wait() == 0
    assert len(_whole_stores(cache)) == 1
    assert open_packed(options, 2, "train").fingerprint == fingerprint


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_the_waiting_process_takes_over_from_a_killed_one(pack: Pack, options: SingleOptions) -> None:
    first = pack(4)
    assert [_said(first), _said(first)] == ["begin", "middle"]
    second = pack(NEVER)
    assert _said(second) == "begin"
    assert _waits(second)
    _kill(first)
    assert len(_said(second)) == 32
    assert second.wait() == 0
    assert open_packed(options, 2, "train").damaged() == []
