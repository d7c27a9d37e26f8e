"""Comparisons whose runs train in the test's process, because starting a process takes longer than such a run."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from paragonsr.cli import main


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """`paragonsr compare` trains in this process; real processes are tested in test_process.py."""

    def trained(command: Sequence[str], log: Path, tell: Callable[[str], None]) -> int:
        log.touch()
        with pytest.raises(SystemExit) as ended:
            main(command[3:])
        return int(ended.value.code or 0)

    monkeypatch.setattr("paragonsr.evidence.runner.run_to_its_end", trained)
