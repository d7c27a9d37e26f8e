"""The one door through which automations see training and act on it: numbers in, decisions out.

    Observation -> Automation.observe -> [Decision] -> Controller.apply -> journal

Three counts of progress occur. An *iteration* is a reference iteration: as many samples as the configured batch has, so
that a doubled batch makes two iterations a step. The *position* is where the plan of the run has got to, in iterations
of the plan: it equals the iteration until a budget of time stretches or shortens what remains. Schedules, ramps and
decays go by position and end at the planned total, which never changes.

An automation is a deterministic state machine over numbers: no clock, no randomness, no tensor. Fed the same
observations it makes the same decisions, which is what replaying a run's record checks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from paragonsr.ramps import fall

CLOCK_COLUMNS = ("seconds", "data_wait", "peak_memory", "total_memory")
"""Readings that differ from machine to machine and from run to run; everything else is bit-reproducible."""


@dataclass(frozen=True)
class Steps:
    """What happened in consecutive training steps, handed over every `observe_every` iterations.

    Every value is a float64 array with one entry per step.
    """

    iteration: int
    """Iterations finished with the last step of the window."""
    values: Mapping[str, np.ndarray]
    """iteration (finished with this step); position (before this step); samples_seen; lr; loss/<label> (raw value,
    before its weight); loss_grad/<label> (norm of dL/dSR); loss_weight/<label>; learner/<label>/<name> (of a learned
    loss: loss, grad_norm, finite, and what it measures; NaN where it was not updated); grad_norm (before clipping);
    half_grad_norm (of the gradient of half the batch; NaN where it was not measured); finite (1, or 0 where the update
    was skipped); batch_size (over all processes); micro_batch (of one process); out_of_memory (how often the step was
    repeated with smaller micro-batches); seconds (of the whole step); data_wait (seconds waited for data); peak_memory
    and total_memory (bytes on the device)."""


@dataclass(frozen=True)
class MetricValue:
    """One metric on one validation set."""

    value: float
    better: Literal["higher", "lower"]
    protocol: str
    """How it was measured; two values compare only under the same protocol."""
    exact: int = 0
    """Images that were reproduced exactly, whose infinite PSNR is left out of the mean."""


@dataclass(frozen=True)
class Validation:
    """The values of one validation: validation set -> metric -> value. The first set decides."""

    iteration: int
    metrics: Mapping[str, Mapping[str, MetricValue]]
    seconds: float = field(default=0.0, compare=False)
    """What it took: a clock reading, which two equal validations do not share."""

    def deciding(self, metric: str) -> MetricValue:
        """The value called `metric` on the first set.

        Raises:
            KeyError: there is none of that name.
        """
        first = next(iter(self.metrics.values()))
        return first[metric]


@dataclass(frozen=True)
class Measurements:
    """Values that were found once, beside the steps and validations.

    Kinds: `training images` (statistics of a sample of them, before the first step); `learning rates` (the loss that
    each rate reached in a short trial, by the rate's `repr`); `interrupted size probe` (the sizes that a process tried
    when it ended without a word: batch_size, micro_batch).
    """

    iteration: int
    kind: str
    values: Mapping[str, float]


Observation = Steps | Validation | Measurements


@dataclass(frozen=True)
class Decay:
    """A course of a learning-rate factor, decided once: 1 up to `start`, `floor` from `end` on, falling in between."""

    start: float
    """Position."""
    end: float
    """Position, after start."""
    shape: Literal["cosine", "linear", "sqrt", "exponential", "steps"]
    """With p the share of the way: cosine, linear and sqrt as in paragonsr.ramps, each from 1 down to the floor;
    exponential floor^p; steps halves the factor at even distances until it reaches the floor."""
    floor: float
    """In (0, 1)."""

    def factor(self, position: float) -> float:
        """What the rate is multiplied by at a position."""
        p = min(max((position - self.start) / (self.end - self.start), 0.0), 1.0)
        if self.shape == "exponential":
            return float(self.floor**p)
        if self.shape == "steps":
            halvings = math.ceil(-math.log2(self.floor))
            return max(0.5 ** min(math.floor(p * (halvings + 1)), halvings), self.floor)
        return self.floor + (1 - self.floor) * fall(self.shape, p)


@dataclass(frozen=True)
class Decision:
    """A wish to change one setting, its reason in one sentence, and the values it rests on."""

    automation: str
    setting: str
    """lr (the base rate), lr_factor/<owner> (a number or a Decay), learner_lr/<label> (of a learned loss), micro_batch,
    loss_weight/<label>, batch_size, grad_clip, total_iter, rollback, stop or give_up (the run ends
    and has failed)."""
    value: float | int | bool | Decay
    reason: str
    values: Mapping[str, float] = field(default_factory=dict)
    dry_run: bool = False
    minor: bool = False
    """Whether it corrects a little what was said before: it is journalled and not said."""
    probe: bool = False
    """Whether it may end the process (a size that may not fit into memory): it is on the disk before it is tried."""


class Automation(Protocol):
    """A deterministic state machine over observations.

    It makes a decision once: the next one comes when something has changed, not at the next observation.
    """

    name: str
    watches: str
    """What it looks at, for people."""
    may_change: str
    """The settings it may change."""

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Take one observation in and say what should change."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that the next decision depends on, as JSON-able values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        ...
