"""The keys of `datasets.<phase>.degradation`."""

from typing import TYPE_CHECKING, ClassVar

from paragonsr.options import Variant
from paragonsr.registry import Registry

if TYPE_CHECKING:
    from paragonsr.degradation.base import AnyDegradation


class DegradationOptions(Variant):
    """Keys of all degradations."""

    registry: ClassVar[Registry[type["DegradationOptions"]]] = Registry("paragonsr.degradation")

    def build(self, *, scale: int, seed: int) -> "AnyDegradation":  # type: ignore[override]
        """The degradation.

        Args:
            scale: HR side / LR side.
            seed: all randomness is a function of it and of the sample.
        """
        degradation: AnyDegradation = super().build(scale=scale, seed=seed)
        return degradation
