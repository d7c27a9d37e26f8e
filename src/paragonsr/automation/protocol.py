"""Interface between training and automations: observations (numbers) in, decisions out.

    Observation -> Automation.observe -> [Decision] -> Controller.apply -> journal

Progress has two units. An *iteration* is a reference iteration: as many samples as the configured batch, so that a step
with a doubled batch counts for two. The *position* is the progress of the run in iterations of its plan: it equals the
iteration until a time budget stretches or shortens the rest of the plan. Schedules, ramps and decays follow the
position and end at the planned total, which never changes.

An automation is a deterministic state machine over numbers: no clock, no randomness, no tensors. Given the same
observations, it makes the same decisions; replaying a run's record checks this.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from paragonsr.ramps import fall

CLOCK_COLUMNS = ("seconds", "data_wait", "peak_memory", "total_memory")
"""Columns that differ between machines and between runs; everything else is bit-reproducible."""


@dataclass(frozen=True)
class Steps:
    """Values of consecutive training steps, flushed every `observe_every` iterations.

    Every value is a float64 array with one entry per step.
    """

    iteration: int
    """Iterations finished after the last step of the window."""
    values: Mapping[str, np.ndarray]
    """iteration (after this step); position (before this step); samples_seen; lr; loss/<label> (unweighted value);
    loss_grad/<label> (norm of dL/dSR); loss_weight/<label>; learner/<label>/<name> (of a learned loss: loss, grad_norm,
    finite, and the values it reports; NaN if it was not updated); grad_norm (before clipping); half_grad_norm (of the
    gradient of half the batch; NaN if not measured); finite (1, or 0 if the update was skipped); batch_size (over all
    processes); micro_batch (of one process); out_of_memory (how often the step was repeated with smaller
    micro-batches); seconds (of the whole step); data_wait (seconds spent waiting for data); peak_memory and
    total_memory (bytes on the device)."""


@dataclass(frozen=True)
class MetricValue:
    """One metric on one validation set."""

    value: float
    better: Literal["higher", "lower"]
    protocol: str
    """How the value was measured; values are comparable only under the same protocol."""
    exact: int = 0
    """Number of images that were reproduced exactly, whose infinite PSNR is left out of the mean."""
    bicubic: float | None = None
    """Value of the bicubic resize on the same images; None if unknown."""


@dataclass(frozen=True)
class Validation:
    """Values of one validation: validation set -> metric -> value. The first set decides which weights are best."""

    iteration: int
    metrics: Mapping[str, Mapping[str, MetricValue]]
    seconds: float = field(default=0.0, compare=False)
    """Duration; excluded from comparisons, because it differs between equal validations."""

    def deciding(self, metric: str) -> MetricValue:
        """Value of `metric` on the first set.

        Raises:
            KeyError: there is no metric of that name.
        """
        first = next(iter(self.metrics.values()))
        return first[metric]


@dataclass(frozen=True)
class Measurements:
    """Values that are measured once, apart from steps and validations.

    Kinds: `training images` (statistics of a sample of the training images, before the first step); `learning rates`
    (final loss of each rate in a short trial, keyed by the rate's `repr`); `degradation of <phase>` (the fit to a
    folder of bad images); `interrupted size probe` (the sizes that a process was trying when it was killed: batch_size,
    micro_batch).
    """

    iteration: int
    kind: str
    values: Mapping[str, float]


Observation = Steps | Validation | Measurements


@dataclass(frozen=True)
class Decay:
    """Decay of a learning-rate factor, decided once: 1 up to `start`, `floor` from `end` on, falling in between."""

    start: float
    """Position at which the decay starts."""
    end: float
    """Position at which the decay ends, after `start`."""
    shape: Literal["cosine", "linear", "sqrt", "exponential", "steps"]
    """With p the progress from 0 to 1: cosine, linear and sqrt as in paragonsr.ramps, each from 1 to the floor;
    exponential is floor^p; steps halves the factor at equal distances until it reaches the floor."""
    floor: float
    """Final factor, in (0, 1)."""

    def factor(self, position: float) -> float:
        """Factor on the rate at a position."""
        p = min(max((position - self.start) / (self.end - self.start), 0.0), 1.0)
        if self.shape == "exponential":
            return float(self.floor**p)
        if self.shape == "steps":
            halvings = math.ceil(-math.log2(self.floor))
            return max(0.5 ** min(math.floor(p * (halvings + 1)), halvings), self.floor)
        return self.floor + (1 - self.floor) * fall(self.shape, p)


SettingValue = float | int | bool | str | Decay
"""Value of a setting."""


@dataclass(frozen=True)
class Decision:
    """Request to change one setting, with its reason in one sentence and the values it is based on."""

    automation: str
    setting: str
    """optimiser, num_threads and degradation/<phase> (before the first step), lr (the base rate), lr_factor/<owner> (a
    number or a Decay), micro_batch, learner_lr/<label> (of a learned loss), loss_weight/<label>, metric_floor/<name>
    (weights with a lower value of that metric are not kept as the best), batch_size, grad_clip, total_iter, rollback,
    stop or give_up (the run ends and has failed)."""
    value: SettingValue
    reason: str
    values: Mapping[str, float] = field(default_factory=dict)
    dry_run: bool = False
    minor: bool = False
    """Whether this is a small correction of an earlier decision, which is journalled but not printed."""
    probe: bool = False
    """Whether the new value may kill the process (a size that may not fit into memory); it is then written to disk
    before it is tried."""


class Automation(Protocol):
    """A deterministic state machine over observations.

    Each decision is made once: the next one comes when something has changed, not at the next observation.
    """

    name: str
    watches: str
    """Inputs of the automation, in words."""
    may_change: str
    """The settings it may change."""

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Process one observation and return the changes to make."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that later decisions depend on, as JSON-serialisable values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the result of `state_dict`."""
        ...
