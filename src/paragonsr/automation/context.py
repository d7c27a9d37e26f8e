"""Facts that automations may use about their run."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RunContext:
    """Constants of a run that are known before its first step."""

    parameters: int
    """Parameter count of the network."""
    world: int
    """Number of processes that train together."""
    total_iter: int
    """Iterations of the plan."""
    warmup_iter: int
    """Iterations of the linear warm-up, 0 for none."""
    batch: int
    """Samples of an optimisation step in one process, as configured."""
    micro_batch: int
    """Samples that one process passes through the network at once, as configured."""
    smallest_micro_batch: int
    """Minimum of `micro_batch`: 2 for a network with BatchNorm, else 1."""
    losses: Sequence[str]
    """Labels of the losses."""
    sharpening: Sequence[str]
    """Labels of the adversarial and perceptual losses."""
    learned: Sequence[str]
    """Labels of the adversarial losses, which have a discriminator."""
    metric: str
    """Name of the deciding metric, on the first validation set."""
    fidelity_metric: str
    """Name of the first PSNR, on the first validation set; empty if there is none."""
    schedule_end: float
    """Last value of the configured schedule, as a share of its peak."""
    averaged_over: float
    """Iterations over which the moving average of the weights looks back, 1 / (1 - decay); 1 without an average."""
