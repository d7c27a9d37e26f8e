"""The table of runs, including runs that did not end regularly."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.data.lock import claim
from paragonsr.evidence.runs import Run
from paragonsr.training.run import train

Configure = Callable[..., Path]


@pytest.fixture
def root(tiny_config: Configure) -> Path:
    """Folder with a finished run, and with one whose process is gone."""
    outcome = train(load_config(tiny_config()).config)
    gone = outcome.folder.with_name("gone")
    shutil.copytree(outcome.folder, gone)
    description = json.loads((gone / "run.json").read_text())
    (gone / "run.json").write_text(
        json.dumps(description | {"state": "running", "best": None, "started": "2000-01-01"})
    )
    return outcome.folder.parent


def _shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["runs", *arguments])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_a_run_without_its_process_was_killed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in json.loads(_shown(capsys, str(root), "--json"))}
    assert rows["tiny"]["state"] == "completed"
    assert rows["gone"]["state"] == "killed"
    assert rows["gone"]["best"] == rows["tiny"]["best"], "known from its validations"
    assert rows["gone"]["iteration"] == 12
    handle = claim(root / "gone" / ".lock")
    assert handle is not None
    assert Run(root / "gone").state == "running"
    os.close(handle)
    assert Run(root / "gone").state == "killed"


def test_the_table_can_be_sorted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for column in ("name", "state", "iteration", "best", "arch", "seconds", "started"):
        lines = _shown(capsys, str(root), "--sort", column).splitlines()
        assert lines[0].split() == ["name", "state", "iteration", "best", "network", "time"]
        assert "12/12" in lines[1]
    by_start = _shown(capsys, str(root)).splitlines()
    assert [line.split()[0] for line in by_start[1:]] == ["gone", "tiny"]
    latest = _shown(capsys, str(root), "--reverse").splitlines()
    assert [line.split()[0] for line in latest[1:]] == ["tiny", "gone"]


def test_a_damaged_run_hides_no_other(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "gone" / "run.json").write_text("{")
    with pytest.raises(SystemExit) as ended:
        main(["runs", str(root)])
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert "tiny" in said.out
    assert "gone" not in said.out
    assert "skipped" in said.err
    assert "gone" in said.err


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["runs", str(tmp_path / "none")])
    assert refused.value.code == 2
    assert "folder of runs does not exist" in capsys.readouterr().err
