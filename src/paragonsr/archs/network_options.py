"""What the options of all networks share, ours and those of other projects."""

from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import model_validator

from paragonsr.errors import UserError
from paragonsr.options import Variant
from paragonsr.registry import Registry

if TYPE_CHECKING:
    from torch import nn

SCALES = (1, 2, 3, 4, 8)
"""HR side / LR side; 1 is restoration: both images have one size."""


class NetworkOptions(Variant):
    """Options of a network for RGB images."""

    registry: ClassVar[Registry[type["NetworkOptions"]]] = Registry("paragonsr.archs")

    family: ClassVar[str]
    """Which group of networks it belongs to: classic, release, or another project's."""
    purpose: ClassVar[str]
    """One line: whom it is for."""
    scales: ClassVar[tuple[int, ...]] = SCALES
    """Scales that it can be built for."""
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "bf16", "fp16")
    """Floating types in which it trains and infers."""
    legacy: ClassVar[dict[str, Any]] = {}
    """Values of the options under which it is the published network."""

    renamed: ClassVar[dict[str, str]] = {}
    """Earlier name -> name of an option, for configurations and weights of before."""

    @classmethod
    def current(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Values under today's names of the options; an earlier name beside today's stays, and is then refused."""
        return {name if (name := cls.renamed.get(key, key)) not in values else key: v for key, v in values.items()}

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, given: Any) -> Any:
        return cls.current(given) if isinstance(given, dict) else given

    @classmethod
    def published(cls, **given: Any) -> Self:
        """The options of the published network; those given win."""
        return cls(**(cls.legacy | cls.current(given)))

    def given(self) -> dict[str, Any]:
        """The options that were written out, without those left at their default."""
        return self.model_dump(exclude_unset=True, exclude={"type"})

    def without_effect(self, scale: int) -> list[str]:
        """Names of the options that were written and mean nothing at this scale."""
        return []

    def build(self, *, scale: int = 2) -> "nn.Module":  # type: ignore[override]
        """The network, with random weights, taking (N, 3, H, W) in [0, 1] to (N, 3, scale H, scale W).

        Raises:
            UserError: the network is not made for this scale.
        """
        if scale not in self.scales:
            raise UserError(
                f"{self.tag()} cannot have scale {scale}", fix=f"Choose one of {', '.join(map(str, self.scales))}."
            )
        network: nn.Module = super().build(scale=scale)
        return network
