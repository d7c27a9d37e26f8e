"""The best validation of a run."""

from dataclasses import dataclass


@dataclass
class Best:
    """The best validation so far."""

    metric: str
    value: float
    iteration: int
    protocol: str
