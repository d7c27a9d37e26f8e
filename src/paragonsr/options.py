"""What all options are made of: strict, frozen, typed models that stand beside the code they configure.

A room's `options.py` declares its options with these two classes and imports no torch, so that a configuration can be
checked in a fraction of a second. `Variant` is the registry: the class of the options is the entry, its metadata
stand on it, and `build` imports the code behind it only when it is wanted.
"""

import importlib
from typing import Annotated, Any, ClassVar, Union, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema

ITERATIONS: dict[str, Any] = {"unit": "iterations"}
"""Marks a field that counts iterations of a whole run: `Field(json_schema_extra=ITERATIONS)`; a budget rescales it."""


class Options(BaseModel):
    """Base of all options. Unknown keys and wrong types are errors; an instance never changes."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unwritten(cls, given: Any) -> Any:
        """`key: ~` leaves a key at its default, unless empty is a value that it can have."""
        if not isinstance(given, dict):
            return given
        return {key: value for key, value in given.items() if value is not None or not cls._has_default(key)}

    @classmethod
    def _has_default(cls, key: Any) -> bool:
        field = cls.model_fields.get(key)
        return field is not None and not field.is_required() and type(None) not in get_args(field.annotation)


class MismatchError(ValueError):
    """What a validator of a whole model raises about one of its keys, so that the message can name the key's line.

    Args:
        what: what is wrong.
        place: the keys that lead from the model to the one it is about.
    """

    def __init__(self, what: str, *place: str) -> None:
        super().__init__(what)
        self.place = place


class Variant(Options):
    """Options of one of several things that a `type` key chooses between (a network, a loss, an optimiser).

    A subclass narrows `type` to one `Literal` with that literal as default and sets `builds`.
    """

    type: str

    target: ClassVar[str]
    """Where the thing is made: "package.module:callable", called as callable(options, **context)."""

    aliases: ClassVar[tuple[str, ...]] = ()
    """Other spellings of `type` that users' configurations contain."""

    otherwise: ClassVar[str] = ""
    """What is told about a `type` that nobody knows where it may be something of this variant's; {} stands for it."""

    @classmethod
    def tag(cls) -> str:
        """The value of `type` that chooses this variant."""
        return str(cls.model_fields["type"].default)

    def build(self, **context: Any) -> Any:
        """Import the code behind this variant and make the thing from these options."""
        module, _, attribute = self.target.partition(":")
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
