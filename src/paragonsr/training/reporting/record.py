"""Complete record of a run's observations, in append-only files that can be truncated to a checkpoint."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from paragonsr.automation.forecast import Forecast
from paragonsr.automation.protocol import Measurements, MetricValue, Observation, Steps, Validation
from paragonsr.loggers.base import Logger

FLUSHED = "handed_over"
LOCK = ".lock"
"""File in a run's folder that is locked by the process training in it."""


class MetricsRecord(Logger):
    """Writes `observations.bin` (steps), `validations.jsonl`, `measurements.jsonl` and `forecasts.jsonl`.

    observations.bin is one line of JSON (the column names), followed by rows of little-endian float64, one per step.
    The column `handed_over` is 1 in the last row of each window.

    Args:
        folder: the run's folder.
        columns: names of the step columns.
    """

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._columns = [*columns, FLUSHED]
        steps = folder / "observations.bin"
        fresh = not steps.exists() or steps.stat().st_size == 0
        self._steps = steps.open("ab")
        if fresh:
            self._steps.write(json.dumps({"columns": self._columns}).encode() + b"\n")
        self._validations = (folder / "validations.jsonl").open("a", encoding="utf-8")
        self._measurements = (folder / "measurements.jsonl").open("a", encoding="utf-8")
        self._forecasts = (folder / "forecasts.jsonl").open("a", encoding="utf-8")

    def observe(self, observation: Observation) -> None:
        """Append one observation."""
        if isinstance(observation, Steps):
            ends = np.zeros(len(observation.values["lr"]))
            ends[-1:] = 1
            rows = np.stack([(dict(observation.values) | {FLUSHED: ends})[name] for name in self._columns], axis=1)
            self._steps.write(rows.astype("<f8").tobytes())
        elif isinstance(observation, Measurements):
            self._measurements.write(json.dumps(asdict(observation)) + "\n")
        else:
            self._validations.write(json.dumps(asdict(observation)) + "\n")

    def forecast(self, iteration: int, expected: Forecast) -> None:
        """Append the forecast made after a validation."""
        self._forecasts.write(json.dumps({"iteration": iteration} | asdict(expected)) + "\n")

    def flush(self) -> None:
        """Write everything so far to disk."""
        for file in (self._steps, self._validations, self._measurements, self._forecasts):
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        for file in (self._steps, self._validations, self._measurements, self._forecasts):
            file.close()


def read_steps(folder: Path) -> dict[str, np.ndarray]:
    """Step values of a run by name, one float64 entry per recorded step."""
    with (folder / "observations.bin").open("rb") as file:
        columns = json.loads(file.readline())["columns"]
        data = file.read()
    whole = len(data) // (8 * len(columns)) * len(columns)
    rows = np.frombuffer(data, "<f8", count=whole).reshape(-1, len(columns))
    return {name: rows[:, i] for i, name in enumerate(columns)}


def read_validations(folder: Path) -> list[Validation]:
    """Validations of a run, in order."""
    found = []
    for line in (folder / "validations.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        values = {
            name: {metric: MetricValue(**figure) for metric, figure in metrics.items()}
            for name, metrics in entry["metrics"].items()
        }
        found.append(Validation(entry["iteration"], values, entry["seconds"]))
    return found


def read_forecasts(folder: Path) -> list[tuple[int, Forecast]]:
    """Forecasts of a run as (iteration, forecast); there are none in the first third of a run."""
    file = folder / "forecasts.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [(entry.pop("iteration"), Forecast(**entry)) for entry in map(json.loads, lines)]


def read_observations(folder: Path) -> Iterator[Observation]:
    """All observations of a run, in the order and windows in which the automations saw them."""
    steps = read_steps(folder)
    ends = np.flatnonzero(steps[FLUSHED]) + 1
    starts = [0, *ends[:-1]]
    found: list[tuple[int, int, Observation]] = []
    for start, end in zip(starts, ends, strict=True):
        figures = {name: values[start:end] for name, values in steps.items() if name != FLUSHED}
        iteration = int(figures["iteration"][-1])
        found.append((iteration, 0, Steps(iteration, figures)))
    found += [(v.iteration, 1, v) for v in read_validations(folder)]
    for line in (folder / "measurements.jsonl").read_text(encoding="utf-8").splitlines():
        measurements = Measurements(**json.loads(line))
        found.append((measurements.iteration, 2, measurements))
    found.sort(key=lambda entry: entry[:2])
    return iter([observation for _, _, observation in found])


APPENDED = ("observations.bin", "validations.jsonl", "measurements.jsonl", "forecasts.jsonl", "journal.jsonl")


def positions(folder: Path) -> dict[str, int]:
    """Sizes in bytes of all append-only files of a run, for a checkpoint; the files must be flushed before."""
    files = [folder / name for name in APPENDED] + sorted((folder / "tb").glob("events.*"))
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in files if file.exists()}


def truncate(folder: Path, sizes: dict[str, int]) -> list[str]:
    """Truncate the append-only files to their sizes at a checkpoint; files created later are removed.

    Returns:
        a sentence for each file that is shorter than at the checkpoint, or missing: part of the record is lost.
    """
    now = positions(folder)
    lost = [
        f"{name}: only {now.get(name, 0)} of the {size} bytes recorded up to this checkpoint are left"
        for name, size in sizes.items()
        if now.get(name, 0) < size
    ]
    for name in now:
        file = folder / name
        if name not in sizes:
            file.unlink()
        elif file.stat().st_size > sizes[name]:
            os.truncate(file, sizes[name])
    return lost
