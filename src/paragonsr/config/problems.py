"""What pydantic found, told to a person: file, line, key, what is wrong, and what was probably meant."""

import difflib
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from paragonsr.config.yaml import Key
from paragonsr.options import Variant


def describe(error: ValidationError, model: type[BaseModel], file: str, lines: dict[Key, int]) -> str:
    """All problems, one line each, in the order of the file."""
    found = []
    for problem in error.errors():
        if problem["type"] == "default_factory_not_called":
            continue  # only follows from another problem of the same section
        place, owner = _place(model, problem["loc"])
        line = _line(lines, (*place, "type") if problem["type"] == "union_tag_invalid" else place)
        where = f"{file}:{line}" if line else file
        name = ".".join(map(str, place)) or "the configuration"
        found.append((line or 0, f"{where}: {name}: {_sentence(dict(problem), place, owner)}"))
    return "\n".join(text for _, text in sorted(found, key=lambda item: item[0]))


def _sentence(problem: dict[str, Any], place: Key, owner: Any) -> str:
    kind, given = problem["type"], problem["input"]
    context = problem.get("ctx", {})
    if kind == "extra_forbidden":
        known = list(owner.model_fields) if isinstance(owner, type) and issubclass(owner, BaseModel) else []
        return "there is no such key" + _did_you_mean(str(place[-1]), known)
    if kind == "missing":
        return "is required and missing"
    if kind == "union_tag_invalid":
        known = [name.strip(" '") for name in context["expected_tags"].split(",")]
        return f"there is no type {context['tag']!r}" + _did_you_mean(context["tag"], known)
    if kind == "union_tag_not_found":
        return "needs a `type`"
    if kind == "literal_error":
        return f"{given!r} is not one of {context['expected']}"
    if kind == "value_error":
        return str(context["error"])
    message = problem["msg"].replace("Input should", "should").replace("valid ", "").replace("a integer", "an integer")
    if isinstance(given, dict | list):
        return message
    return f"{message}, not {given!r}"


def _did_you_mean(word: str, known: list[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {by_lower[close[0]]!r}?"
    return f"; there are {', '.join(sorted(known))}" if known else ""


def _line(lines: dict[Key, int], place: Key) -> int | None:
    """The line of a key, or of the nearest section around it."""
    while place:
        if place in lines:
            return lines[place]
        place = place[:-1]
    return None


def _place(model: Any, loc: Key) -> tuple[Key, Any]:
    """Separate a pydantic location, which also names the chosen variants, into the user's keys and the last model."""
    place: Key = ()
    here: Any = model
    owner: Any = model
    for part in loc:
        variant = _variant(here, part)
        if variant is not None:
            here = variant
            owner = variant
            continue
        place = (*place, part)
        inner = _model(here)
        if inner is not None:
            owner = inner
            field = inner.model_fields.get(part) if isinstance(part, str) else None
            here = field.annotation if field else None
        else:
            here = _item(here)
    return place, owner


def _members(annotation: Any) -> list[Any]:
    """The alternatives of an annotation, with Annotated and Optional taken off."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [member for arg in typing.get_args(annotation) for member in _members(arg)]
    return [annotation]


def _variant(annotation: Any, tag: Any) -> type[Variant] | None:
    """The variant that a tag of the location names, where the annotation leaves a choice of variants."""
    bases = [m for m in _members(annotation) if isinstance(m, type) and issubclass(m, Variant)]
    return next((variant for base in bases for variant in _family(base) if variant.tag() == tag), None)


def _family(base: type[Variant]) -> Iterator[type[Variant]]:
    yield base
    for heir in base.__subclasses__():
        yield from _family(heir)


def _model(annotation: Any) -> type[BaseModel] | None:
    return next((m for m in _members(annotation) if isinstance(m, type) and issubclass(m, BaseModel)), None)


def _item(annotation: Any) -> Any:
    for member in _members(annotation):
        arguments = typing.get_args(member)
        if arguments:
            return arguments[-1]
    return None
