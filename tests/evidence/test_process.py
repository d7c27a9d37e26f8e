"""Runs in their own processes: what happens when they, or the comparison, are stopped."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from paragonsr.cli import main
from paragonsr.evidence.process import run_to_its_end
from paragonsr.evidence.runs import Run, find_runs

Configure = Callable[..., Path]
posix = pytest.mark.skipif(os.name != "posix", reason="signals")
SAVES = """
import signal, sys, time
def save(number, frame):
    time.sleep(0.3)
    print("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("begun")
time.sleep(60)
"""


def test_what_it_says_is_passed_on(tmp_path: Path) -> None:
    said: list[str] = []
    program = (
        "import sys, time; print('one'); time.sleep(0.7); print('two', file=sys.stderr); time.sleep(0.5); sys.exit(3)"
    )
    assert run_to_its_end([sys.executable, "-c", program], tmp_path / "log", said.append) == 3
    assert said == ["one", "two"]
    assert (tmp_path / "log").read_text().split() == ["one", "two"]


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_may_save_before_an_interruption_ends_the_comparison(tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "log"

    def interrupt() -> None:
        while not log.exists() or "begun" not in log.read_text():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt).start()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run_to_its_end([sys.executable, "-c", SAVES], log, lambda line: None)
    assert log.read_text().split() == ["begun", "saved"]
    assert signal.getsignal(signal.SIGTERM) == before


@posix
def test_a_run_that_is_killed_is_said_to_be(
    tiny_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(command: list[str], log: Path, tell: Callable[[str], None]) -> int:
        return run_to_its_end([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], log, tell)

    monkeypatch.setattr("paragonsr.evidence.runner.run_to_its_end", killed)
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(tiny_config()), "--vary", "train.optim_g.lr=1e-3,1e-4", "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "the run lr=1e-3_seed0 did not finish (killed by signal 9" in capsys.readouterr().err


@posix
def test_a_comparison_that_was_killed_waits_for_the_run_it_left_behind(
    tiny_config: Configure, tmp_path: Path, in_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    path = tiny_config({"train.total_iter": 300, "val.val_freq": 150})
    command = ["compare", str(path), "--vary", "train.optim_g.lr=1e-3,1e-4", "--seeds", "1", "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-m", "paragonsr", *command], stdout=subprocess.DEVNULL)
    first = Run(out / "runs" / "lr=1e-3_seed0")
    end = time.monotonic() + 120
    while not (first.folder / "run.json").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    with pytest.raises(SystemExit) as refused:
        main(command)
    assert refused.value.code == 2
    assert "another comparison is running in this folder" in capsys.readouterr().err
    process.kill()
    process.wait()
    assert Run(first.folder).state == "running", "it goes on, in a session of its own"
    started = first.description["started"]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    assert all(run.ended and run.iteration == 300 for run in find_runs(out / "runs"))
    assert Run(first.folder).description["started"] == started, "not trained a second time"
    assert (out / "compare.html").exists()
