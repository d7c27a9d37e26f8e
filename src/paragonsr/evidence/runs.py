"""Reading of a run's folder, whether the run is running, crashed or finished."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from paragonsr.automation.protocol import Validation
from paragonsr.data.lock import is_claimed
from paragonsr.errors import UserError
from paragonsr.run_description import has_description, read_description
from paragonsr.training.reporting.record import LOCK, read_steps, read_validations


@dataclass(frozen=True)
class Best:
    """The best validation of a run."""

    metric: str
    value: float
    iteration: int


@dataclass(frozen=True)
class Run:
    """Folder of one run, which is only read."""

    folder: Path

    @property
    def exists(self) -> bool:
        """Whether the run exists; one that was stopped before its first step has left nothing to read."""
        return has_description(self.folder)

    @cached_property
    def description(self) -> dict[str, Any]:
        """Content of run.json.

        Raises:
            UserError: the file is missing, cannot be read, or is of another version.
        """
        return read_description(self.folder)

    @property
    def name(self) -> str:
        """Name of the folder: the experiment's name, with the time of archiving for an archived one."""
        return self.folder.resolve().name

    @property
    def config(self) -> dict[str, Any]:
        """Resolved configuration."""
        config: dict[str, Any] = self.description["config"]
        return config

    @cached_property
    def state(self) -> str:
        """State: running, interrupted, crashed, killed, completed, stopped (by an automation) or failed (diverged).

        A killed process cannot record its end, but the system releases its lock on the folder: a run that is recorded
        as running and not locked was killed.
        """
        told = str(self.description["state"])
        return "killed" if told == "running" and not is_claimed(self.folder / LOCK) else told

    @property
    def ended(self) -> bool:
        """Whether the run has finished."""
        return self.state in ("completed", "stopped", "failed")

    @property
    def arch(self) -> str:
        """Name of the network; of one that spandrel has, its class there."""
        network = self.config["network_g"]
        return str(network["network"] if network["type"] == "spandrel" else network["type"])

    @property
    def total(self) -> int:
        """Total iterations of the run, including changes by an automation."""
        return int(self.description.get("total", self.config["train"]["total_iter"]))

    @cached_property
    def steps(self) -> dict[str, np.ndarray]:
        """Values of all recorded steps; empty before the first was recorded."""
        try:
            return read_steps(self.folder)
        except (OSError, json.JSONDecodeError):
            return {}

    @cached_property
    def validations(self) -> list[Validation]:
        """All validations so far."""
        try:
            return read_validations(self.folder)
        except OSError:
            return []

    @cached_property
    def journal(self) -> list[dict[str, Any]]:
        """Decisions; a last line that a crash has truncated is left out."""
        try:
            text = (self.folder / "journal.jsonl").read_text(encoding="utf-8")
        except OSError:
            return []
        whole, _, _ = text.rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def iteration(self) -> int:
        """Number of recorded iterations."""
        return int(self.steps["iteration"][-1]) if self.steps and len(self.steps["iteration"]) else 0

    @cached_property
    def seconds(self) -> np.ndarray:
        """Seconds of training up to the end of each step, without validation and saving."""
        return np.cumsum(self.steps["seconds"]) if self.steps else np.empty(0)

    @property
    def duration(self) -> float:
        """Seconds of training and validation so far."""
        return float(self.seconds[-1] if self.iteration else 0.0) + sum(v.seconds for v in self.validations)

    def seconds_at(self, iterations: np.ndarray) -> np.ndarray:
        """Seconds of training up to the given iterations."""
        return np.interp(iterations, self.steps["iteration"], self.seconds)

    @cached_property
    def shares(self) -> dict[str, np.ndarray]:
        """Share of each loss in the gradient at the SR image, per step: weight times gradient norm, over the sum."""
        gradients = {
            name.removeprefix("loss_grad/"): norms * self.steps[name.replace("loss_grad/", "loss_weight/")]
            for name, norms in self.steps.items()
            if name.startswith("loss_grad/") and np.isfinite(norms).any()
        }
        total = np.nansum(list(gradients.values()), axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return {name: gradient / total for name, gradient in gradients.items()}

    def curve(self, metric: str, name: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Iterations and values of a metric on a validation set (by default the deciding one)."""
        points = []
        for validation in self.validations:
            measured = validation.metrics.get(name or next(iter(validation.metrics)), {})
            if metric in measured:
                points.append((validation.iteration, measured[metric].value))
        iterations, values = zip(*points, strict=True) if points else ((), ())
        return np.array(iterations, int), np.array(values, float)

    @cached_property
    def best(self) -> Best | None:
        """Best validation so far by the deciding metric; None before the first."""
        metric = str(self.description["metric"])
        best: Best | None = None
        for validation in self.validations:
            try:
                figure = validation.deciding(metric)
            except (KeyError, StopIteration):  # the deciding metric is not measured
                return None
            sign = 1.0 if figure.better == "higher" else -1.0
            if best is None or sign * figure.value > sign * best.value:
                best = Best(metric, figure.value, validation.iteration)
        return best

    def summary(self) -> dict[str, Any]:
        """One line of `paragonsr runs`."""
        return {
            "name": self.name,
            "state": self.state,
            "iteration": self.iteration,
            "total": self.total,
            "best": self.best.value if self.best else None,
            "arch": self.arch,
            "parameters": self.description["parameters"],
            "seconds": float(self.seconds[-1]) if self.iteration else 0.0,
            "started": self.description["started"],
        }


def find_runs(root: Path) -> Iterator[Run]:
    """Yield all runs directly in a folder, by name; one at a time, because the record of a long run is large.

    Raises:
        UserError: the folder does not exist.
    """
    if not root.is_dir():
        raise UserError("this folder of runs does not exist", where=str(root), fix="Give the folder, e.g. experiments.")
    return (Run(file.parent) for file in sorted(root.glob("*/run.json")))
