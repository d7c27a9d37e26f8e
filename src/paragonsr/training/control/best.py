"""The best validation of a run."""

from dataclasses import dataclass
from typing import Any

from paragonsr.automation.protocol import Validation


@dataclass(frozen=True)
class Best:
    """The best validation so far."""

    metric: str
    value: float
    iteration: int
    protocol: str

    @classmethod
    def of(cls, described: dict[str, Any]) -> "Best":
        """The one that the metadata of weights, or a checkpoint, describes."""
        return cls(**described)


def better_of(best: Best | None, validation: Validation, metric: str) -> Best | None:
    """The best validation when one more is known: `best` itself unless the deciding metric improved.

    Args:
        best: so far.
        validation: the new one.
        metric: name of the deciding metric, on the first validation set.

    Raises:
        KeyError: it was not measured.
    """
    found = validation.deciding(metric)
    sign = 1.0 if found.better == "higher" else -1.0
    if best is not None and sign * found.value <= sign * best.value:
        return best
    return Best(metric, found.value, validation.iteration, found.protocol)
