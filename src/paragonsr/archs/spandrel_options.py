"""Networks of other projects, by the names that spandrel gives them."""

from typing import Any, Literal

from pydantic import Field

from paragonsr.archs.network_options import NetworkOptions


class SpandrelOptions(NetworkOptions):
    """Any super-resolution network that spandrel knows: Compact, SPAN, RealPLKSR, SwinIR, DAT, ..."""

    type: Literal["spandrel"] = "spandrel"
    target = "paragonsr.archs.spandrel_adapter:SpandrelNetwork"
    family = "spandrel"
    purpose = "any network that spandrel knows"
    hint = "a network of another project is `type: spandrel`, `network: {}`"

    network: str = Field(min_length=1)
    """Name of the network's class in spandrel, in any case: Compact, SPAN, RealPLKSR, SwinIR, DAT, ..."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Arguments of its constructor, but for the scale, which stands in the configuration once."""
