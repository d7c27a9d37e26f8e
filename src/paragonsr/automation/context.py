"""What automations may know about the run that they act on."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RunContext:
    """Numbers and names of a run that are known before its first step and never change."""

    parameters: int
    """Of the network."""
    world: int
    """Processes that train together."""
    total_iter: int
    """Iterations of the plan."""
    warmup_iter: int
    """Iterations of the linear warm-up, 0 for none."""
    batch: int
    """Samples of an optimisation step in one process, as configured."""
    micro_batch: int
    """Samples that one process puts through the network at once, as configured."""
    losses: Sequence[str]
    """Labels of the losses."""
    metric: str
    """Name of the metric that decides, on the first validation set."""
    schedule_end: float
    """Where the configured schedule ends, as a share of its peak."""
    averaged: bool
    """Whether the weights that come out of the run are a moving average."""
