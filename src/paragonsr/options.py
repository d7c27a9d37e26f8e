"""Base classes of all options: strict, frozen, typed models that stand beside the code they configure.

The `options.py` of a package declares its options with these two classes and imports no torch, so that a configuration
is checked in a fraction of a second. A subclass of `Variant` registers itself; `build` imports the code behind it only
when it is needed.
"""

import builtins
import importlib
import os
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema, InitErrorDetails, core_schema

from paragonsr.registry import Registry

PathText = Annotated[str, AfterValidator(os.path.expanduser)]
"""Type of a field that is a path; `~` is the home folder."""

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

    The root of a kind declares `registry`. A field of the root's type takes any registered variant. A variant narrows
    `type` to one `Literal` with that literal as default, sets `target`, and is registered by being defined.
    """

    type: str

    registry: ClassVar[Registry[Any]]
    """The variants of this kind."""

    target: ClassVar[str]
    """Where the thing is made: "package.module:callable", called as callable(options, **context)."""

    aliases: ClassVar[tuple[str, ...]] = ()
    """Other spellings of `type` in users' configurations."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if isinstance(cls.model_fields["type"].default, str):
            own = cls.__dict__.get("aliases", ())
            cls.registry.add(cls, cls.tag(), own)

    @classmethod
    def tag(cls) -> str:
        """The value of `type` that chooses this variant."""
        return str(cls.model_fields["type"].default)

    @classmethod
    def choose(cls, name: str) -> "builtins.type[Self] | None":
        """The variant of that name or alias; None if there is none."""
        return cls.registry.find(name)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if "registry" not in cls.__dict__:
            return handler(source)
        return core_schema.no_info_plain_validator_function(cls._validated)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        if "registry" not in cls.__dict__:
            return dict(handler(schema))
        cls.registry.complete()
        return {"oneOf": [handler(variant.__pydantic_core_schema__) for variant in cls.registry.entries()]}

    @classmethod
    def _validated(cls, given: Any) -> Self:
        if isinstance(given, cls):
            return given
        if not isinstance(given, dict):
            raise _error("model_type", (), given, class_name=cls.__name__)
        name = given.get("type")
        if not isinstance(name, str):
            raise _error("union_tag_not_found", (), given, discriminator="'type'")
        variant = cls.choose(name)
        if variant is None:
            known = ", ".join(repr(tag) for tag in cls.registry.names())
            raise _error("union_tag_invalid", (), given, discriminator="'type'", tag=name, expected_tags=known)
        try:
            return variant.model_validate(given | {"type": variant.tag()})
        except ValidationError as error:
            raise _inside(variant.tag(), error) from None

    @classmethod
    def hint(cls, name: str) -> str:
        """What is said about an unknown `type` that this variant can make under another name; empty if it cannot."""
        return ""

    def build(self, **context: Any) -> Any:
        """Import the code behind this variant and make the thing from these options."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)(self, **context)


def _error(kind: str, loc: tuple[str | int, ...], given: Any, **context: Any) -> ValidationError:
    details = InitErrorDetails(type=kind, loc=loc, input=given, ctx=context)
    return ValidationError.from_exception_data("options", [details])


def _inside(tag: str, error: ValidationError) -> ValidationError:
    """The same problems, placed inside the variant of that tag, as pydantic places those of its own unions."""
    details = [
        InitErrorDetails(type=e["type"], loc=(tag, *e["loc"]), input=e["input"], ctx=e.get("ctx", {}))
        for e in error.errors()
    ]
    return ValidationError.from_exception_data(error.title, details)
