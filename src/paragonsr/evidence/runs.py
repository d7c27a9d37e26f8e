"""What the folder of a run says: a running, crashed or ended one."""

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
    """The folder of one run, read and never changed."""

    folder: Path

    @property
    def exists(self) -> bool:
        """Whether there is such a run: one that was stopped before its first step has left nothing to read."""
        return has_description(self.folder)

    @cached_property
    def description(self) -> dict[str, Any]:
        """run.json.

        Raises:
            UserError: there is none, it cannot be read, or it is of another version.
        """
        return read_description(self.folder)

    @property
    def name(self) -> str:
        """Name of the folder: the experiment's, and of an archived one also when it was archived."""
        return self.folder.resolve().name

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as resolved."""
        config: dict[str, Any] = self.description["config"]
        return config

    @cached_property
    def state(self) -> str:
        """running, interrupted, crashed, killed, completed, stopped (by an automation) or failed (it diverged).

        A process that is killed has no time to say so, but the system takes its claim on the folder away: a run that
        calls itself running, and that no process has claimed, was killed.
        """
        told = str(self.description["state"])
        return "killed" if told == "running" and not is_claimed(self.folder / LOCK) else told

    @property
    def ended(self) -> bool:
        """Whether nothing remains to be trained."""
        return self.state in ("completed", "stopped", "failed")

    @property
    def arch(self) -> str:
        """Name of the network."""
        return str(self.config["network_g"]["type"])

    @property
    def total(self) -> int:
        """Iterations of the whole run, as an automation may have changed them."""
        return int(self.description.get("total", self.config["train"]["total_iter"]))

    @cached_property
    def steps(self) -> dict[str, np.ndarray]:
        """The values of all recorded steps. Empty before the first was recorded."""
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
        """The decisions; a last line that was cut off by a crash is left out."""
        try:
            text = (self.folder / "journal.jsonl").read_text(encoding="utf-8")
        except OSError:
            return []
        whole, _, _ = text.rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def iteration(self) -> int:
        """Iterations recorded."""
        return int(self.steps["iteration"][-1]) if self.steps and len(self.steps["iteration"]) else 0

    @cached_property
    def seconds(self) -> np.ndarray:
        """Seconds of training up to the end of each step; validation and saving are not in it."""
        return np.cumsum(self.steps["seconds"]) if self.steps else np.empty(0)

    @property
    def duration(self) -> float:
        """Seconds of training and validation so far."""
        return float(self.seconds[-1] if self.iteration else 0.0) + sum(v.seconds for v in self.validations)

    def seconds_at(self, iterations: np.ndarray) -> np.ndarray:
        """Seconds of training up to those iterations."""
        return np.interp(iterations, self.steps["iteration"], self.seconds)

    @cached_property
    def shares(self) -> dict[str, np.ndarray]:
        """Each loss' share of the gradient at the SR image, per step: its weight times the norm of its gradient."""
        gradients = {
            name.removeprefix("loss_grad/"): norms * self.steps[name.replace("loss_grad/", "loss_weight/")]
            for name, norms in self.steps.items()
            if name.startswith("loss_grad/") and np.isfinite(norms).any()
        }
        total = np.nansum(list(gradients.values()), axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return {name: gradient / total for name, gradient in gradients.items()}

    def curve(self, metric: str, name: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Iterations and values of a metric on a validation set (the deciding one if none is named)."""
        points = []
        for validation in self.validations:
            measured = validation.metrics.get(name or next(iter(validation.metrics)), {})
            if metric in measured:
                points.append((validation.iteration, measured[metric].value))
        iterations, values = zip(*points, strict=True) if points else ((), ())
        return np.array(iterations, int), np.array(values, float)

    @cached_property
    def best(self) -> Best | None:
        """The best validation so far by the deciding metric; None before the first."""
        metric = str(self.description["metric"])
        best: Best | None = None
        for validation in self.validations:
            try:
                figure = validation.deciding(metric)
            except (KeyError, StopIteration):  # other metrics are measured, or none: nothing decides
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
    """All runs directly in a folder, by name; one after the other, as the record of a long run is large.

    Raises:
        UserError: this folder does not exist.
    """
    if not root.is_dir():
        raise UserError("this folder of runs does not exist", where=str(root), fix="Give the folder, e.g. experiments.")
    return (Run(file.parent) for file in sorted(root.glob("*/run.json")))
