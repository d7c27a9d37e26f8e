"""Base options of all networks, ours and those of other projects."""

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
    """Family of the network: classic, release, or another project's."""
    purpose: ClassVar[str]
    """Intended use, in one line."""
    scales: ClassVar[tuple[int, ...]] = SCALES
    """Supported scales."""
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "bf16", "fp16")
    """Supported floating-point types for training and inference."""
    legacy: ClassVar[dict[str, Any]] = {}
    """Option values that give the published network."""

    renamed: ClassVar[dict[str, str]] = {}
    """Old name -> current name of an option, for older configurations and weights."""

    @classmethod
    def current(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Rename old options; an old name given together with the current one is kept, and later refused."""
        return {name if (name := cls.renamed.get(key, key)) not in values else key: v for key, v in values.items()}

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, given: Any) -> Any:
        return cls.current(given) if isinstance(given, dict) else given

    @classmethod
    def published(cls, **given: Any) -> Self:
        """Options of the published network; values in `given` win."""
        return cls(**(cls.legacy | cls.current(given)))

    def title(self) -> str:
        """Name of the network for people."""
        return self.tag()

    def given(self) -> dict[str, Any]:
        """Options that were set explicitly."""
        return self.model_dump(exclude_unset=True, exclude={"type"})

    def without_effect(self, scale: int) -> list[str]:
        """Names of the options that were written and mean nothing at this scale."""
        return []

    def build(self, *, scale: int = 2) -> "nn.Module":  # type: ignore[override]
        """Build the network with random weights; it takes (N, 3, H, W) in [0, 1] to (N, 3, scale H, scale W).

        Raises:
            UserError: the network does not support this scale.
        """
        if scale not in self.scales:
            raise UserError(
                f"{self.tag()} cannot have scale {scale}", fix=f"Choose one of {', '.join(map(str, self.scales))}."
            )
        network: nn.Module = super().build(scale=scale)
        return network
