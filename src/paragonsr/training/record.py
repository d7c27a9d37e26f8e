"""The complete record of what a run observed, in files that are only appended to and can be cut to a checkpoint."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from paragonsr.automation.protocol import Figure, Observation, Steps, Validation


class Recorder:
    """Writes `observations.bin` (steps) and `validations.jsonl`.

    observations.bin is one line of JSON (the column names) and then rows of little-endian float64, one per step.

    Args:
        folder: the run's folder.
        columns: names of the step figures.
    """

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        steps = folder / "observations.bin"
        fresh = not steps.exists() or steps.stat().st_size == 0
        self._steps = steps.open("ab")
        if fresh:
            self._steps.write(json.dumps({"columns": self._columns}).encode() + b"\n")
        self._validations = (folder / "validations.jsonl").open("a", encoding="utf-8")

    def write(self, observation: Observation) -> None:
        """Append one observation."""
        if isinstance(observation, Steps):
            rows = np.stack([observation.figures[name] for name in self._columns], axis=1)
            self._steps.write(rows.astype("<f8").tobytes())
            return
        figures = {
            name: {metric: vars(figure) for metric, figure in metrics.items()}
            for name, metrics in observation.figures.items()
        }
        line = {"iteration": observation.iteration, "figures": figures}
        self._validations.write(json.dumps(line) + "\n")

    def sync(self) -> None:
        """Bring everything written so far to the disk."""
        for file in (self._steps, self._validations):
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Write out and close."""
        self.sync()
        self._steps.close()
        self._validations.close()


def read_steps(folder: Path) -> dict[str, np.ndarray]:
    """The step figures of a run by name, one float64 entry per recorded step; row i is iteration i + 1."""
    with (folder / "observations.bin").open("rb") as file:
        columns = json.loads(file.readline())["columns"]
        data = file.read()
    whole = len(data) // (8 * len(columns)) * len(columns)
    rows = np.frombuffer(data, "<f8", count=whole).reshape(-1, len(columns))
    return {name: rows[:, i] for i, name in enumerate(columns)}


def read_validations(folder: Path) -> list[Validation]:
    """The validations of a run, in order."""
    found = []
    for line in (folder / "validations.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        figures = {
            name: {metric: Figure(**figure) for metric, figure in metrics.items()}
            for name, metrics in entry["figures"].items()
        }
        found.append(Validation(entry["iteration"], figures))
    return found


APPENDED = ("observations.bin", "validations.jsonl", "journal.jsonl")


def positions(folder: Path) -> dict[str, int]:
    """Sizes of all append-only files of a run, for a checkpoint; they must be on the disk already."""
    files = [folder / name for name in APPENDED] + sorted((folder / "tb").glob("events.*"))
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in files if file.exists()}


def cut(folder: Path, sizes: dict[str, int]) -> None:
    """Take the append-only files back to what they were at a checkpoint; files begun later are removed."""
    for name in positions(folder):
        file = folder / name
        if name not in sizes:
            file.unlink()
        elif file.stat().st_size > sizes[name]:
            os.truncate(file, sizes[name])
