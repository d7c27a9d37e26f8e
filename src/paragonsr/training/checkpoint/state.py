"""Everything that training goes on from: weights, average, optimiser, counters, automations."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from paragonsr.optim import optimisers as optimisers
from paragonsr.optim.ema import EMA
from paragonsr.training.control.best import Best
from paragonsr.training.engine.step import TrainStep

FORMAT = 2


class Stateful(Protocol):
    """Something whose JSON-able state belongs into a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """All that it goes on from."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        ...


@dataclass
class TrainingState:
    """The state of a run between two iterations.

    `save` and `load` turn it into tensors and JSON; `keep` and `roll_back` hold one earlier state in memory. Counters,
    sample position and automations only go forward: a rollback changes weights, average, optimiser and scaler alone,
    or the same samples would bring the same trouble again.
    """

    network: nn.Module
    ema: EMA
    train_step: TrainStep
    parts: Mapping[str, Stateful]
    """Meter, controls and automations, by name."""
    iteration: int = 0
    """Iterations finished: samples seen / samples of the configured batch."""
    samples_seen: int = 0
    """Samples trained on; the next batch begins with this index."""
    best: Best | None = None
    _snapshot: tuple[dict[str, Tensor], dict[str, Any]] | None = field(default=None, repr=False)

    def advance(self, samples: int, iterations: int) -> None:
        """Count one step."""
        self.iteration += iterations
        self.samples_seen += samples

    def averaged(self) -> nn.Module:
        """The network to be validated and kept: the moving average, or without one the trained network itself."""
        if not self.ema.decay:
            with optimisers.evaluation_weights(self.train_step.optimiser):
                self.ema.copy(self.network)
        return self.ema.network

    def keep(self) -> None:
        """Remember the present weights as the last good ones."""
        tensors, rest = self._learned()
        self._snapshot = {k: v.detach().clone() for k, v in tensors.items()}, json.loads(json.dumps(rest))

    def roll_back(self) -> None:
        """Return to the last good weights."""
        if self._snapshot is None:
            raise RuntimeError("there is no snapshot to return to")
        tensors, rest = self._snapshot
        self._restore({k: v.clone() for k, v in tensors.items()}, rest)

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The whole state as named tensors and JSON."""
        tensors, rest = self._learned()
        kept, kept_rest = self._snapshot or ({}, {})
        tensors = {f"now.{k}": v for k, v in tensors.items()} | {f"kept.{k}": v for k, v in kept.items()}
        tensors["rng.torch"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        return tensors, {
            "format": FORMAT,
            "iteration": self.iteration,
            "samples_seen": self.samples_seen,
            "best": vars(self.best) if self.best else None,
            "learned": rest,
            "kept": kept_rest,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
        }

    def load(self, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """Take over what `save` returned, bit for bit."""
        groups: dict[str, dict[str, Tensor]] = {"now": {}, "kept": {}, "rng": {}}
        for name, tensor in tensors.items():
            group, _, key = name.partition(".")
            groups[group][key] = tensor
        self._restore(groups["now"], rest["learned"])
        if groups["kept"]:
            self._snapshot = groups["kept"], rest["kept"]
        self.iteration, self.samples_seen = rest["iteration"], rest["samples_seen"]
        self.best = Best(**rest["best"]) if rest["best"] else None
        for name, part in self.parts.items():
            if name in rest["parts"]:
                part.load_state_dict(rest["parts"][name])
        torch.set_rng_state(groups["rng"]["torch"])
        if "cuda" in groups["rng"] and torch.cuda.is_available():
            torch.cuda.set_rng_state(groups["rng"]["cuda"])

    def _learned(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        optimiser, rest = optimisers.flatten(self.train_step.optimiser)
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.ema.network.state_dict().items()}
        tensors |= {f"optimiser.{k}": v for k, v in optimiser.items()}
        return tensors, {
            "optimiser": rest,
            "updates": self.ema.updates,
            "scaler": self.train_step.scaler.state_dict(),
        }

    def _restore(self, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
        def part(name: str) -> dict[str, Tensor]:
            prefix = f"{name}."
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.network.load_state_dict(part("network"))
        self.ema.network.load_state_dict(part("average"))
        self.ema.updates = rest["updates"]
        optimisers.unflatten(self.train_step.optimiser, part("optimiser"), rest["optimiser"])
        if rest["scaler"]:
            self.train_step.scaler.load_state_dict(rest["scaler"])
