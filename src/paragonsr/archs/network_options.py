"""What the options of all networks share, ours and those of other projects."""

from typing import TYPE_CHECKING, Any, ClassVar, Self

from paragonsr.errors import UserError
from paragonsr.options import Variant
from paragonsr.registry import Registry

if TYPE_CHECKING:
    from torch import nn

SCALES = (2, 3, 4, 8)


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

    @classmethod
    def published(cls, **given: Any) -> Self:
        """The options of the published network; those given win."""
        return cls(**(cls.legacy | given))

    def given(self) -> dict[str, Any]:
        """The options that were written out, without those left at their default."""
        return self.model_dump(exclude_unset=True, exclude={"type"})

    def build(self, *, scale: int = 2) -> "nn.Module":  # type: ignore[override]
        """The network, with random weights, taking (N, 3, H, W) in [0, 1] to (N, 3, scale H, scale W).

        Raises:
            UserError: the network is not made for this scale.
        """
        if scale not in self.scales:
            raise UserError(
                f"{self.tag()} cannot upscale by {scale}", fix=f"Choose one of {', '.join(map(str, self.scales))}."
            )
        network: nn.Module = super().build(scale=scale)
        return network
