"""Comparisons whose runs are trained in the process of the test: starting one takes longer than such a run."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from paragonsr.cli import main


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """`paragonsr compare` trains here. What needs processes is tested with them in test_process.py."""

    def trained(command: Sequence[str], log: Path, tell: Callable[[str], None]) -> int:
        log.touch()
        with pytest.raises(SystemExit) as ended:
            main(command[3:])
        return int(ended.value.code or 0)

    monkeypatch.setattr("paragonsr.evidence.runner.run_to_its_end", trained)
