"""Journal of all decisions with their reasons, in an append-only file."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paragonsr.automation.protocol import Decay, Decision, SettingValue


@dataclass(frozen=True)
class Entry:
    """A decision and its outcome."""

    iteration: int
    decision: Decision
    before: SettingValue | None
    outcome: str
    """Outcome: applied, dry run, or why the decision was refused."""

    def as_dict(self) -> dict[str, Any]:
        """Content of the line in journal.jsonl."""
        return {
            "iteration": self.iteration,
            "automation": self.decision.automation,
            "setting": self.decision.setting,
            "from": _plain(self.before),
            "to": _plain(self.decision.value),
            "reason": self.decision.reason,
            "values": dict(self.decision.values),
            "outcome": self.outcome,
        }


class DecisionJournal:
    """journal.jsonl of one run, one JSON object per line.

    Args:
        path: the file; None in all but the main process, which alone writes.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("a", encoding="utf-8") if path else None

    def write(self, entry: Entry) -> None:
        """Append one entry."""
        if self._file is not None:
            self._file.write(json.dumps(entry.as_dict()) + "\n")

    def sync(self) -> None:
        """Flush everything written so far to disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close."""
        if self._file is not None:
            self.sync()
            self._file.close()


def _plain(value: SettingValue | None) -> float | int | bool | str | dict[str, Any] | None:
    return asdict(value) if isinstance(value, Decay) else value
