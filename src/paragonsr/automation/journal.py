"""The journal: every decision, once, with its reason, in a file that is only ever appended to."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paragonsr.automation.protocol import Decay, Decision


@dataclass(frozen=True)
class Entry:
    """A decision as it was carried out (or not)."""

    iteration: int
    decision: Decision
    before: float | int | bool | Decay | None
    outcome: str
    """What became of it: applied, dry run, or why it was refused."""

    def as_dict(self) -> dict[str, Any]:
        """The line that stands in journal.jsonl."""
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
        path: the file; None, in processes that do not lead, writes nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("a", encoding="utf-8") if path else None

    def write(self, entry: Entry) -> None:
        """Append one entry."""
        if self._file is not None:
            self._file.write(json.dumps(entry.as_dict()) + "\n")

    def sync(self) -> None:
        """Bring everything written so far to the disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write out and close."""
        if self._file is not None:
            self.sync()
            self._file.close()


def _plain(value: float | int | bool | Decay | None) -> float | int | bool | dict[str, Any] | None:
    return asdict(value) if isinstance(value, Decay) else value
