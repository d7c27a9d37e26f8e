"""Options of networks of other projects, by their names in spandrel."""

from importlib.util import find_spec
from typing import Any, Literal

from pydantic import Field

from paragonsr.archs.network_options import NetworkOptions


class SpandrelOptions(NetworkOptions):
    """Any super-resolution network that spandrel knows: Compact, SPAN, RealPLKSR, SwinIR, DAT and others."""

    type: Literal["spandrel"] = "spandrel"
    target = "paragonsr.archs.spandrel_adapter:SpandrelNetwork"
    family = "spandrel"
    purpose = "any network that spandrel knows"

    def title(self) -> str:
        """Name of the class in spandrel."""
        return self.network

    @classmethod
    def hint(cls, name: str) -> str:
        """How to configure a network of another project, if spandrel really has it."""
        if find_spec("spandrel") is None:
            return "networks of other projects need: pip install 'paragonsr[spandrel]'"
        from paragonsr.archs.spandrel_adapter import known_as

        known = known_as(name)
        return f"write `type: spandrel`, `network: {known}`" if known else ""

    network: str = Field(min_length=1)
    """Name of the network's class in spandrel, case-insensitive: Compact, SPAN, RealPLKSR, SwinIR, DAT, ..."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Arguments of its constructor, except for the scale, which is set only once in the configuration."""
