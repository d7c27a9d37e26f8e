"""What all options are made of: strict, frozen, typed models that stand beside the code they configure.

A room's `options.py` declares its options with these two classes and imports no torch, so that a configuration can be
checked in a fraction of a second. `Variant` is the registry: the class of the options is the entry, its metadata
stand on it, and `build` imports the code behind it only when it is wanted.
"""

import importlib
from typing import Annotated, Any, ClassVar, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

ITERATIONS: dict[str, Any] = {"unit": "iterations"}
"""Marks a field that counts iterations of a whole run: `Field(json_schema_extra=ITERATIONS)`; a budget rescales it."""


class Options(BaseModel):
    """Base of all options. Unknown keys and wrong types are errors; an instance never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Variant(Options):
    """Options of one of several things that a `type` key chooses between (a network, a loss, an optimiser).

    A subclass narrows `type` to one `Literal` with that literal as default and sets `builds`.
    """

    type: str

    builds: ClassVar[str]
    """Where the thing is made: "package.module:callable", called as callable(options, **context)."""

    aliases: ClassVar[tuple[str, ...]] = ()
    """Other spellings of `type` that users' configurations contain."""

    @classmethod
    def tag(cls) -> str:
        """The value of `type` that chooses this variant."""
        return str(cls.model_fields["type"].default)

    def build(self, **context: Any) -> Any:
        """Import the code behind this variant and make the thing from these options."""
        module, _, attribute = self.builds.partition(":")
        return getattr(importlib.import_module(module), attribute)(self, **context)


class one_of:  # noqa: N801 - reads as a word of the annotation that it stands in
    """Marks a field as "one of these variants, chosen by `type`"; names are matched without regard to case.

    NetworkChoice = Annotated[NetworkOptions, one_of(NanoOptions, MicroOptions)]
    """

    def __init__(self, *variants: type[Variant]) -> None:
        self.variants = variants
        self._names = {name.lower(): v.tag() for v in variants for name in (v.tag(), *v.aliases)}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        union = Annotated[Union[self.variants], Field(discriminator="type")]  # type: ignore[name-defined]  # noqa: UP007
        return handler.generate_schema(Annotated[union, BeforeValidator(self._canonical)])

    def _canonical(self, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("type"), str):
            return value | {"type": self._names.get(value["type"].lower(), value["type"])}
        return value
