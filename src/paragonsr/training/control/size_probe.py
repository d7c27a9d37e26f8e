"""A size that is being tried, on the disk before it is tried: the system's memory killer raises no exception."""

import json
from pathlib import Path
from typing import Any

from paragonsr.automation.protocol import Measurements
from paragonsr.files import write_atomically


class SizeProbe:
    """`size_probe.json` of a run, which exists while a size is tried.

    Args:
        folder: the run's folder; None, in processes that do not lead, writes nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / "size_probe.json" if folder else None
        self._open: dict[str, Any] | None = None

    def begin(self, iteration: int, batch_size: int, micro_batch: int) -> None:
        """Remember what is tried from this iteration on."""
        self._open = {"iteration": iteration, "values": {"batch_size": batch_size, "micro_batch": micro_batch}}
        if self._file is not None:
            write_atomically(self._file, json.dumps(self._open).encode())

    def survived(self) -> None:
        """The steps of the trial were made and measured."""
        self._open = None
        self.suspend()

    def suspend(self) -> None:
        """The process ends in good order; a trial that is not over continues when the run does."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """The trial that is not over, if there is one."""
        return {"open": self._open}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with it."""
        if state["open"]:
            self.begin(state["open"]["iteration"], **state["open"]["values"])


def interrupted(folder: Path, iteration: int) -> list[Measurements]:
    """The trial in which an earlier process ended, if it did, as facts of the iteration that the run continues from."""
    try:
        left = json.loads((folder / "size_probe.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return [Measurements(iteration, "interrupted size probe", {k: float(v) for k, v in left["values"].items()})]
