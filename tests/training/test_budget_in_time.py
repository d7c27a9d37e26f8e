"""A time budget in real time: a machine that is slowed in the middle, a kill, a resume. Takes two minutes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from paragonsr.training.reporting.record import read_steps, read_validations

pytestmark = pytest.mark.slow

Configure = Callable[..., Path]
ENTRY = [sys.executable, "-c", "from paragonsr.cli import main; main()", "train"]
SECONDS = 40.0
HOG = "import time\nend = time.monotonic() + 12\nwhile time.monotonic() < end: pass"


def _start(path: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*ENTRY, str(path)], stdout=subprocess.DEVNULL, env=environment)


@pytest.mark.parametrize("trouble", ["none", "hog", "kill"])
def test_it_ends_annealed_and_in_time(tiny_config: Configure, trouble: str) -> None:
    changes = {
        "train.total_iter": 10_000,
        "train.budget": f"{SECONDS:g}s",
        "train.scheduler": {"type": "CosineAnnealingLR"},
        "train.observe_every": 50,
        "val.val_freq": 1000,
        "logger.autosave_minutes": 0.02,
    }
    path = tiny_config(changes, name=trouble)
    folder = path.parent / "experiments" / trouble
    began = time.monotonic()
    process = _start(path)
    hogs: list[subprocess.Popen[bytes]] = []
    if trouble != "none":
        time.sleep(SECONDS / 2)
    if trouble == "hog":
        hogs = [subprocess.Popen([sys.executable, "-c", HOG]) for _ in range(2 * (os.cpu_count() or 1))]
    if trouble == "kill":
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = _start(path)
    assert process.wait(timeout=200) == 0
    assert all(hog.wait() == 0 for hog in hogs)
    steps = read_steps(folder)
    spent = steps["seconds"].sum() + sum(v.seconds for v in read_validations(folder))
    print(f"{trouble}: {spent:.1f} s of {SECONDS:g} s, {time.monotonic() - began:.1f} s with everything around it")
    assert spent == pytest.approx(SECONDS, rel=0.05)
    assert steps["lr"][-1] < 0.01 * steps["lr"].max()
