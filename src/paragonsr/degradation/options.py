"""Options of `datasets.<phase>.degradation`, and of the steps that a degradation may consist of."""

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field

from paragonsr.options import Variant
from paragonsr.registry import Registry

if TYPE_CHECKING:
    from paragonsr.degradation.base import AnyDegradation
    from paragonsr.degradation.step import Step


class DegradationOptions(Variant):
    """Base options of all degradations."""

    registry: ClassVar[Registry[type["DegradationOptions"]]] = Registry("paragonsr.degradation")

    @classmethod
    def _validated(cls, given: Any) -> Self:
        """`{like: FOLDER}` needs no type."""
        if isinstance(given, dict) and "like" in given and "type" not in given:
            given = given | {"type": "like"}
        return super()._validated(given)

    def build(self, *, scale: int, seed: int) -> "AnyDegradation":  # type: ignore[override]
        """Build the degradation.

        Args:
            scale: HR side / LR side.
            seed: together with the sample, determines all randomness.
        """
        degradation: AnyDegradation = super().build(scale=scale, seed=seed)
        return degradation


class StepOptions(Variant):
    """Keys that all steps share."""

    registry: ClassVar[Registry[type["StepOptions"]]] = Registry("paragonsr.degradation")

    prob: float = Field(1.0, ge=0, le=1)
    """Probability that a sample gets this step."""

    def build(self) -> "Step":  # type: ignore[override]
        """Build the step.

        Raises:
            UserError: it needs a library or a codec that is not installed.
        """
        step: Step = super().build()
        return step


def _both_ends(given: Any) -> Any:
    return [given, given] if isinstance(given, int | float) and not isinstance(given, bool) else given


def _ordered(ends: list[float]) -> list[float]:
    if ends[0] > ends[1]:
        raise ValueError(f"the minimum {ends[0]:g} is larger than the maximum {ends[1]:g}")
    return ends


Range = Annotated[
    list[float],
    AfterValidator(_ordered),
    Field(min_length=2, max_length=2),
    BeforeValidator(_both_ends, json_schema_input_type=float | list[float]),
]
"""Minimum and maximum of a number that is drawn uniformly for each sample; a single number is always that number."""


def within(low: float, high: float = math.inf) -> AfterValidator:
    """Validator of a range that must not leave low .. high."""

    def check(ends: list[float]) -> list[float]:
        if ends[0] < low or ends[1] > high:
            allowed = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise ValueError(f"should be {allowed}, not {ends[0]:g} to {ends[1]:g}")
        return ends

    return AfterValidator(check)


def positive(ends: list[float]) -> list[float]:
    """Validator of a range of numbers above 0."""
    if ends[0] <= 0:
        raise ValueError(f"should be above 0, not {ends[0]:g} to {ends[1]:g}")
    return ends


def odd_sizes(ends: list[float]) -> list[float]:
    """Validator of a range of odd whole numbers from 3 to 99."""
    if any(end % 2 != 1 or not 3 <= end <= 99 for end in ends):
        raise ValueError(f"should be two odd whole numbers from 3 to 99, not {ends[0]:g} and {ends[1]:g}")
    return ends


def some_weight(weights: dict[Any, float]) -> dict[Any, float]:
    """Validator of relative frequencies: none is negative, and one is positive."""
    if any(weight < 0 for weight in weights.values()):
        raise ValueError("a weight is negative")
    if not any(weights.values()):
        raise ValueError("needs at least one weight above 0")
    return weights
