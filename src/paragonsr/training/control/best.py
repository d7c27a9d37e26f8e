"""The best validation of a run."""

from collections.abc import Mapping
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
        """Build from the metadata of a weights file or from a checkpoint."""
        return cls(**described)


def above(validation: Validation, floors: Mapping[str, float]) -> bool:
    """Whether a validation reaches all floors: name of a metric -> smallest value on the first validation set.

    Raises:
        KeyError: a metric was not measured.
    """
    return all(validation.deciding(name).value >= floor for name, floor in floors.items())


def better_of(
    best: Best | None, validation: Validation, metric: str, floors: Mapping[str, float] | None = None
) -> Best | None:
    """Best validation after one more result: `best` itself unless the deciding metric improved.

    Args:
        best: best validation so far, if any.
        validation: the new one.
        metric: name of the deciding metric, on the first validation set.
        floors: name of a metric -> value below which a validation cannot be the best.

    Raises:
        KeyError: the metric was not measured.
    """
    if not above(validation, floors or {}):
        return best
    found = validation.deciding(metric)
    sign = 1.0 if found.better == "higher" else -1.0
    if best is not None and sign * found.value <= sign * best.value:
        return best
    return Best(metric, found.value, validation.iteration, found.protocol)
