"""A size that is being tried, on the disk before it is tried: the system's memory killer raises no exception."""

import json
from pathlib import Path

from paragonsr.automation.protocol import Facts
from paragonsr.files import write_atomically


class Trial:
    """`trial.json` of a run, which exists while a size is tried.

    Args:
        folder: the run's folder; None, in processes that do not lead, writes nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / "trial.json" if folder else None
        self._open = False

    def begin(self, iteration: int, batch_size: int, micro_batch: int) -> None:
        """Remember what is tried from this iteration on."""
        self._open = True
        if self._file is not None:
            figures = {"batch_size": batch_size, "micro_batch": micro_batch}
            write_atomically(self._file, json.dumps({"iteration": iteration, "figures": figures}).encode())

    def survived(self) -> None:
        """The steps of the trial were made and measured."""
        if self._open and self._file is not None:
            self._file.unlink(missing_ok=True)
        self._open = False


def interrupted(folder: Path, iteration: int) -> list[Facts]:
    """The trial in which an earlier process ended, if it did, as facts of the iteration that the run goes on from."""
    try:
        left = json.loads((folder / "trial.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return [Facts(iteration, "interrupted trial", {k: float(v) for k, v in left["figures"].items()})]
