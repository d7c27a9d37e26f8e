"""Training state, everything needed to resume: weights, EMA, optimisers, counters, automations."""

import json
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from paragonsr.optim import optimisers
from paragonsr.optim.ema import EMA
from paragonsr.training.control.best import Best
from paragonsr.training.engine.step import TrainStep
from paragonsr.training.engine.trainable import under

FORMAT = 2
"""Format version of resume states; other versions are refused."""


class Stateful(Protocol):
    """Object with a JSON-serialisable state that belongs in a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """State to resume from."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        ...


@dataclass
class TrainingState:
    """State of a run between two iterations.

    `save` and `load` convert it to and from tensors and JSON; `keep` and `roll_back` hold one earlier state in memory.
    A rollback restores only weights, EMA, optimisers and scalers. Counters, sample position and automations only move
    forward, because the same samples would cause the same problem again.
    """

    ema: EMA
    train_step: TrainStep
    iteration: int = 0
    """Number of finished iterations: samples seen / samples of the configured batch."""
    samples_seen: int = 0
    """Number of samples trained on; the next batch starts at this index."""
    best: Best | None = None
    _parts: dict[str, Stateful] = field(default_factory=dict, repr=False)
    _snapshot: tuple[dict[str, Tensor], dict[str, Any]] | None = field(default=None, repr=False)

    @property
    def network(self) -> nn.Module:
        """The trained network."""
        return self.train_step.main.network

    def register(self, name: str, part: Stateful) -> None:
        """Include `part` in `save` and `load`."""
        self._parts[name] = part

    def advance(self, samples: int, iterations: int) -> None:
        """Count one step, and update the EMA."""
        self.ema.update(self.network)
        self.iteration += iterations
        self.samples_seen += samples

    def ema_network(self) -> nn.Module:
        """Network to validate and save: the moving average or, without one, a copy of the trained network."""
        if not self.ema.decay:
            with optimisers.evaluation_weights(self.train_step.main.optimiser):
                self.ema.copy(self.network)
        return self.ema.network

    def keep(self) -> None:
        """Remember the current weights as the last good ones."""
        tensors, rest = self._learned()
        self._snapshot = {k: v.detach().clone() for k, v in tensors.items()}, json.loads(json.dumps(rest))

    def roll_back(self) -> None:
        """Return to the last good weights."""
        if self._snapshot is None:
            raise RuntimeError("there is no snapshot to return to")
        tensors, rest = self._snapshot
        self._restore({k: v.clone() for k, v in tensors.items()}, rest)

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Whole state as named tensors and JSON."""
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
            "parts": {name: part.state_dict() for name, part in self._parts.items()},
        }

    def load(self, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """Restore what `save` returned, bit for bit."""
        self._restore(under("now", tensors), rest["learned"])
        kept = under("kept", tensors)
        if kept:
            self._snapshot = kept, rest["kept"]
        self.iteration, self.samples_seen = rest["iteration"], rest["samples_seen"]
        self.best = Best(**rest["best"]) if rest["best"] else None
        for name, part in self._parts.items():
            if name in rest["parts"]:
                part.load_state_dict(rest["parts"][name])
        torch.set_rng_state(tensors["rng.torch"])
        if "rng.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng.cuda"])

    def _learned(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, rest = self.train_step.main.state()
        tensors |= {f"ema.{k}": v for k, v in self.ema.network.state_dict().items()}
        rest |= {"updates": self.ema.updates, "learners": {}}
        for label, learner in self.train_step.learners.items():
            own, rest["learners"][label] = learner.state()
            tensors |= {f"learner.{label}.{k}": v for k, v in own.items()}
        return tensors, rest

    def _restore(self, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
        self.train_step.main.restore(tensors, rest)
        self.ema.network.load_state_dict(under("ema", tensors))
        self.ema.updates = rest["updates"]
        for label, learner in self.train_step.learners.items():
            learner.restore(under(f"learner.{label}", tensors), rest["learners"][label])
