"""Networks of other projects, by the names that spandrel gives them."""

from importlib.util import find_spec
from typing import Any, Literal

from pydantic import Field

from paragonsr.archs.network_options import NetworkOptions


class SpandrelOptions(NetworkOptions):
    """Any super-resolution network that spandrel knows: Compact, SPAN, RealPLKSR, SwinIR, DAT, ..."""

    type: Literal["spandrel"] = "spandrel"
    target = "paragonsr.archs.spandrel_adapter:SpandrelNetwork"
    family = "spandrel"
    purpose = "any network that spandrel knows"

    @classmethod
    def hint(cls, name: str) -> str:
        """How a network of another project is written, if spandrel has it; checked, never guessed."""
        if find_spec("spandrel") is None:
            return "networks of other projects need: pip install 'paragonsr[spandrel]'"
        from paragonsr.archs.spandrel_adapter import known_as

        known = known_as(name)
        return f"write `type: spandrel`, `network: {known}`" if known else ""

    network: str = Field(min_length=1)
    """Name of the network's class in spandrel, in any case: Compact, SPAN, RealPLKSR, SwinIR, DAT, ..."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Arguments of its constructor, but for the scale, which stands in the configuration once."""
