"""The one door through which automations see training and act on it: numbers in, decisions out.

    Observation -> Automation.observe -> [Decision] -> Controls.apply -> journal

An automation is a deterministic state machine over numbers: no clock, no randomness, no tensor. Fed the same
observations it makes the same decisions, which is what replaying a run's record checks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

CLOCK_COLUMNS = ("seconds", "data_wait", "peak_memory", "total_memory")
"""Readings that differ from machine to machine and from run to run; everything else is bit-reproducible."""


@dataclass(frozen=True)
class Steps:
    """What happened in consecutive training steps, handed over every `observe_every` iterations.

    Every figure is a float64 array with one entry per step.
    """

    iteration: int
    """Number of the last step in the window; the first has iteration - len + 1."""
    figures: Mapping[str, np.ndarray]
    """samples_seen; lr; loss/<label> (raw value, before its weight); loss_grad/<label> (norm of dL/dSR);
    loss_weight/<label>; grad_norm (before clipping); finite (1, or 0 where the update was skipped);
    batch_size; seconds (of the whole step); data_wait (seconds waited for data); peak_memory and total_memory
    (bytes on the device)."""


@dataclass(frozen=True)
class Figure:
    """One metric on one validation set."""

    value: float
    better: Literal["higher", "lower"]
    protocol: str
    """How it was measured; two values compare only under the same protocol."""
    exact: int = 0
    """Images that were reproduced exactly, whose infinite PSNR is left out of the mean."""


@dataclass(frozen=True)
class Validation:
    """The figures of one validation: validation set -> metric -> figure. The first set decides."""

    iteration: int
    figures: Mapping[str, Mapping[str, Figure]]

    def deciding(self, metric: str) -> Figure:
        """The figure called `metric` (or val/<metric>) on the first set.

        Raises:
            KeyError: there is none of that name.
        """
        first = next(iter(self.figures.values()))
        return first[metric.removeprefix("val/")]


Observation = Steps | Validation


@dataclass(frozen=True)
class Decision:
    """A wish to change one setting, its reason in one sentence, and the figures it rests on."""

    automation: str
    setting: str
    """lr_factor/<owner>, loss_weight/<label>, micro_batch, batch_size, grad_clip, rollback or stop."""
    value: float | int | bool
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)
    dry_run: bool = False


class Automation(Protocol):
    """A deterministic state machine over observations."""

    name: str

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Take one observation in and say what should change."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that the next decision depends on, as JSON-able values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        ...
