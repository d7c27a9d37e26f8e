"""Options of `datasets.<phase>.degradation`."""

from typing import TYPE_CHECKING, ClassVar

from paragonsr.options import Variant
from paragonsr.registry import Registry

if TYPE_CHECKING:
    from paragonsr.degradation.base import AnyDegradation


class DegradationOptions(Variant):
    """Base options of all degradations."""

    registry: ClassVar[Registry[type["DegradationOptions"]]] = Registry("paragonsr.degradation")

    def build(self, *, scale: int, seed: int) -> "AnyDegradation":  # type: ignore[override]
        """Build the degradation.

        Args:
            scale: HR side / LR side.
            seed: together with the sample, determines all randomness.
        """
        degradation: AnyDegradation = super().build(scale=scale, seed=seed)
        return degradation
