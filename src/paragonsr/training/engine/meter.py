"""From device tensors and clocks to observations: values are collected per step and flushed together."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from paragonsr.automation.protocol import CLOCK_COLUMNS, Steps
from paragonsr.training.engine.step import StepResult


class SystemStats(Protocol):
    """Clock and memory of a run, all that is not reproducible."""

    def step(self, iteration: int) -> dict[str, float]:
        """seconds and data_wait since the last call; peak_memory and total_memory in bytes."""
        ...

    def validation(self, iteration: int, seconds: float) -> float:
        """Seconds that a validation took, which was now measured; the next step's do not contain them."""
        ...


class LiveSystemStats:
    """The readings of this machine.

    Args:
        waited: seconds that the data kept the last step waiting.
        memory: peak and total bytes of the device.
    """

    def __init__(self, waited: Callable[[], float], memory: Callable[[], tuple[float, float]]) -> None:
        self._waited, self._memory = waited, memory
        self._last = time.perf_counter()

    def step(self, iteration: int) -> dict[str, float]:
        """What passed since the last call."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        peak, total = self._memory()
        return {"seconds": seconds, "data_wait": self._waited(), "peak_memory": peak, "total_memory": total}

    def validation(self, iteration: int, seconds: float) -> float:
        """The seconds as they were measured."""
        self._last = time.perf_counter()
        return seconds


class Meter:
    """Collects steps and returns them as one `Steps` window.

    Args:
        labels: names of the losses, which fix the columns.
        system_stats: clock and memory.
        mean: mean of an array over all processes, so that all of them observe the same.
        learners: label of a learned loss -> names of what its own update measures.
    """

    def __init__(
        self,
        labels: Sequence[str],
        system_stats: SystemStats,
        mean: Callable[[np.ndarray], np.ndarray] = lambda rows: rows,
        learners: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._labels, self._learners = list(labels), dict(learners or {})
        self._system_stats, self._mean = system_stats, mean
        self._on_device = ["grad_norm", "half_grad_norm", "finite"]
        self._on_device += [f"{kind}/{label}" for kind in ("loss", "loss_grad") for label in labels]
        own = {label: [*names, "grad_norm", "finite"] for label, names in self._learners.items()}
        self._on_device += [f"learner/{label}/{name}" for label, names in own.items() for name in names]
        self.columns = (
            ["iteration", "position", "samples_seen", "lr", "batch_size", "micro_batch", "out_of_memory"]
            + self._on_device
            + [f"loss_weight/{label}" for label in labels]
            + list(CLOCK_COLUMNS)
        )
        self._rows: list[tuple[torch.Tensor, dict[str, float]]] = []
        self._restored: np.ndarray = np.empty((0, len(self.columns)))

    def add(self, step: StepResult, samples_seen: int, iteration: int, position: float) -> None:
        """Take in one step without waiting for the device."""
        absent = torch.full((), torch.nan, device=step.grad_norm.device)
        half = absent if step.half_grad_norm is None else step.half_grad_norm
        tensors = [step.grad_norm, half, step.finite]
        tensors += [step.values.get(label, absent) for label in self._labels]
        tensors += [step.norms.get(label, absent) for label in self._labels]
        for label, names in self._learners.items():
            learned = step.learners.get(label)
            tensors += [absent if learned is None else learned.values[name] for name in names]
            tensors += [absent, absent] if learned is None else [learned.grad_norm, learned.finite]
        numbers = {"samples_seen": float(samples_seen), "iteration": float(iteration), "position": position}
        numbers |= {"lr": step.lr, "batch_size": float(step.samples), "micro_batch": float(step.micro_batch)}
        numbers["out_of_memory"] = float(step.out_of_memory)
        numbers |= {f"loss_weight/{label}": step.weights[label] for label in self._labels}
        self._rows.append((torch.stack([t.float() for t in tensors]), numbers | self._system_stats.step(iteration)))

    def flush(self, iteration: int) -> Steps:
        """Return all steps since the last flush, which end with `iteration`."""
        window = self._mean(self._pending())
        self._rows, self._restored = [], np.empty((0, len(self.columns)))
        return Steps(iteration, {name: window[:, i] for i, name in enumerate(self.columns)})

    def _pending(self) -> np.ndarray:
        if not self._rows:
            return self._restored
        fetched = torch.stack([tensors for tensors, _ in self._rows]).double().cpu().numpy()
        rows = []
        for values, (_, numbers) in zip(fetched, self._rows, strict=True):
            row = numbers | dict(zip(self._on_device, values, strict=True))
            rows.append([row[column] for column in self.columns])
        return np.concatenate([self._restored, np.array(rows)])

    def state_dict(self) -> dict[str, Any]:
        """The steps that were not flushed yet: a checkpoint between two flushes must not move them."""
        return {"columns": self.columns, "rows": self._pending().tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._rows = []
        self._restored = np.array(state["rows"]).reshape(-1, len(self.columns))
