"""Marker file for a batch or micro-batch size under trial, because the kernel's OOM killer raises no exception."""

import json
from pathlib import Path
from typing import Any

from paragonsr.automation.protocol import Measurements
from paragonsr.files import write_atomically


class SizeProbe:
    """The file `size_probe.json` of a run, which exists while a size is being tried.

    Args:
        folder: the run's folder; None in all but the main process, which alone writes.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / "size_probe.json" if folder else None
        self._open: dict[str, Any] | None = None

    def begin(self, iteration: int, batch_size: int, micro_batch: int) -> None:
        """Record the sizes that are tried from this iteration on."""
        self._open = {"iteration": iteration, "values": {"batch_size": batch_size, "micro_batch": micro_batch}}
        if self._file is not None:
            write_atomically(self._file, json.dumps(self._open).encode())

    def survived(self) -> None:
        """End the trial: its steps have run and were measured."""
        self._open = None
        self.suspend()

    def suspend(self) -> None:
        """Remove the file at a regular exit; an unfinished trial continues when the run is resumed."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """The unfinished trial, if any."""
        return {"open": self._open}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the unfinished trial."""
        if state["open"]:
            self.begin(state["open"]["iteration"], **state["open"]["values"])


def interrupted(folder: Path, iteration: int) -> list[Measurements]:
    """Trial during which an earlier process was killed, if any, as measurements at the iteration to resume from."""
    try:
        left = json.loads((folder / "size_probe.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return [Measurements(iteration, "interrupted size probe", {k: float(v) for k, v in left["values"].items()})]
