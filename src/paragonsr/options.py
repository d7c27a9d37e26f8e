"""Base classes of all options: strict, frozen, typed models next to the code that they configure.

The `options.py` of a package declares its options with these classes and does not import torch, so that a configuration
is checked in a fraction of a second. A subclass of `Variant` registers itself; `build` imports its implementation only
when needed.
"""

import builtins
import importlib
import os
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema, InitErrorDetails, core_schema

from paragonsr.registry import Registry

PathText = Annotated[str, AfterValidator(os.path.expanduser)]
"""Type of a path field; `~` is the home folder."""

ITERATIONS: dict[str, Any] = {"unit": "iterations"}
"""Marks a field that counts iterations and is rescaled by a budget: `Field(json_schema_extra=ITERATIONS)`."""


class Options(BaseModel):
    """Base of all options. Unknown keys and wrong types are errors; instances are immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unwritten(cls, given: Any) -> Any:
        """`key: ~` leaves a key at its default, unless null is a valid value of it."""
        if not isinstance(given, dict):
            return given
        return {key: value for key, value in given.items() if value is not None or not cls._has_default(key)}

    @classmethod
    def _has_default(cls, key: Any) -> bool:
        field = cls.model_fields.get(key)
        return field is not None and not field.is_required() and type(None) not in get_args(field.annotation)


class MismatchError(ValueError):
    """Raised by a validator of a whole model about one of its keys, so that the message can give the key's line.

    Args:
        what: what is wrong.
        place: path of keys from the model to the one concerned.
    """

    def __init__(self, what: str, *place: str) -> None:
        super().__init__(what)
        self.place = place


_BEING_DESCRIBED: list[type] = []
"""Kinds of variants whose JSON schema is being generated."""


class Variant(Options):
    """Options of one of several implementations selected by a `type` key (a network, a loss, an optimiser).

    The base class of a kind declares `registry`. A field of that base type accepts any registered variant. A variant
    narrows `type` to one `Literal` with that literal as default, sets `target`, and is registered when it is defined.
    """

    type: str

    registry: ClassVar[Registry[Any]]
    """Registered variants of this kind."""

    target: ClassVar[str]
    """Factory: "package.module:callable", called as callable(options, **context)."""

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
        """Value of `type` that selects this variant."""
        return str(cls.model_fields["type"].default)

    @classmethod
    def choose(cls, name: str) -> "builtins.type[Self] | None":
        """Variant with that name or alias; None if there is none."""
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
        if cls in _BEING_DESCRIBED:  # a variant that contains variants of its kind: described by name only
            return {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]}
        cls.registry.complete()
        _BEING_DESCRIBED.append(cls)
        try:
            return {"oneOf": [handler(variant.__pydantic_core_schema__) for variant in cls.registry.by_module()]}
        finally:
            _BEING_DESCRIBED.remove(cls)

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
        """Hint for an unknown `type` that this variant supports in another form; empty if it does not."""
        return ""

    def build(self, **context: Any) -> Any:
        """Import the implementation of this variant and build it from these options."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)(self, **context)


def _error(kind: str, loc: tuple[str | int, ...], given: Any, **context: Any) -> ValidationError:
    details = InitErrorDetails(type=kind, loc=loc, input=given, ctx=context)
    return ValidationError.from_exception_data("options", [details])


def _inside(tag: str, error: ValidationError) -> ValidationError:
    """Move problems into the variant with that tag, as pydantic does for its own unions."""
    details = [
        InitErrorDetails(type=e["type"], loc=(tag, *e["loc"]), input=e["input"], ctx=e.get("ctx", {}))
        for e in error.errors()
    ]
    return ValidationError.from_exception_data(error.title, details)
