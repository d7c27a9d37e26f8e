"""What pydantic found, told to a person: file, line, key, what is wrong, and what was probably meant."""

import difflib
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from paragonsr.config.yaml import Key, place
from paragonsr.options import MismatchError, Variant


def describe(error: ValidationError, model: type[BaseModel], file: str, lines: dict[Key, int]) -> str:
    """All problems, one line each, in the order of the file."""
    problems: dict[Key, list[tuple[dict[str, Any], Any]]] = {}
    for problem in error.errors():
        if problem["type"] == "default_factory_not_called":
            continue  # only follows from another problem of the same section
        at, owner = _place(model, problem["loc"])
        told = problem.get("ctx", {}).get("error")
        if isinstance(told, MismatchError):
            at = (*at, *told.place)
        problems.setdefault(at, []).append((dict(problem), owner))
    found = []
    for at, several in problems.items():
        tag = several[0][0]["type"] == "union_tag_invalid"
        line = _line(lines, (*at, "type") if tag else at)
        name = ".".join(map(str, at)) or "the configuration"
        for sentence in _sentences(several, at):
            found.append((line or 0, f"{place(file, line)}: {name}: {sentence}"))
    return "\n".join(text for _, text in sorted(found, key=lambda item: item[0]))


def _sentences(problems: list[tuple[dict[str, Any], Any]], at: Key) -> list[str]:
    """What is wrong at one place; what a value could be instead, each kind of it a problem, is one sentence."""
    kinds = {problem["type"] for problem, _ in problems}
    if len(problems) == 1 or kinds & {"extra_forbidden", "value_error"}:
        return [_sentence(problem, at, owner) for problem, owner in problems]
    allowed = [
        str(problem["ctx"]["expected"]) if problem["type"] == "literal_error" else _requirement(problem)
        for problem, _ in problems
    ]
    first, *others = allowed
    whole = ", or ".join([first, *(other.removeprefix("should be ") for other in others)])
    return [whole + _unlike(problems[0][0]["input"])]


def _sentence(problem: dict[str, Any], at: Key, owner: Any) -> str:
    kind, given = problem["type"], problem["input"]
    context = problem.get("ctx", {})
    if kind == "extra_forbidden":
        known = list(owner.model_fields) if isinstance(owner, type) and issubclass(owner, BaseModel) else []
        return "unknown key" + _did_you_mean(str(at[-1]), known)
    if kind == "missing":
        return "is required and missing"
    if kind == "union_tag_invalid":
        return f"unknown type {context['tag']!r}" + _other_type(context, _choice(owner, at[-1]))
    if kind == "union_tag_not_found":
        return "needs a `type`"
    if kind == "literal_error":
        return f"{given!r} is not one of {context['expected']}"
    if kind == "value_error":
        return str(context["error"])
    return _requirement(problem) + _unlike(given)


def _choice(owner: Any, key: Any) -> Iterator[type[Variant]]:
    """The variants between which `type` chooses at a key of a model."""
    field = owner.model_fields.get(key) if isinstance(owner, type) and issubclass(owner, BaseModel) else None
    for member in _members(field.annotation) if field else ():
        if isinstance(member, type) and issubclass(member, Variant):
            yield from _family(member)


def _other_type(context: dict[str, Any], variants: Iterator[type[Variant]]) -> str:
    """What an unknown type was probably meant to be: a known one, or something that one of the variants may know."""
    known = [name.strip(" '") for name in context["expected_tags"].split(",")]
    meant = _did_you_mean(context["tag"], known)
    if meant.endswith("?"):
        return meant
    hints = [hint for variant in variants if (hint := variant.hint(context["tag"]))]
    return "".join([meant, *(f"; {hint}" for hint in hints)])


def _requirement(problem: dict[str, Any]) -> str:
    """What a value should be, from pydantic's "Input should be a valid integer"."""
    text = re.sub(r"^(Input|List|String|Dictionary|Value) should", "should", problem["msg"])
    text = re.sub(r" after validation, not \d+$", "", text)
    return text.replace("valid ", "").replace("a integer", "an integer")


def _unlike(given: Any) -> str:
    return "" if isinstance(given, dict | list) else f", not {given!r}"


SHARED = re.compile(r"^paragonsr2_|loss$")
"""What many names share, and what makes none of them more alike."""


def _did_you_mean(word: str, known: list[str]) -> str:
    by_core = {SHARED.sub("", name.lower()): name for name in known}
    close = difflib.get_close_matches(SHARED.sub("", word.lower()), by_core, n=1, cutoff=0.7)
    if close:
        return f"; did you mean {by_core[close[0]]!r}?"
    return f"; there are {', '.join(sorted(known))}" if known else ""


def _line(lines: dict[Key, int], at: Key) -> int | None:
    """The line of a key, or of the nearest section around it."""
    while at:
        if at in lines:
            return lines[at]
        at = at[:-1]
    return None


def _place(model: Any, loc: Key) -> tuple[Key, Any]:
    """Separate a pydantic location, which also names chosen variants and kinds, into the user's keys and the model."""
    at: Key = ()
    here: Any = model
    owner: Any = model
    for part in loc:
        variant = _variant(here, part)
        if variant is not None:
            here = variant
            owner = variant
            continue
        if isinstance(part, str) and _is_scalar_union(here):
            continue  # the kind of value that was tried
        at = (*at, part)
        inner = _model(here)
        if inner is not None:
            owner = inner
            field = inner.model_fields.get(part) if isinstance(part, str) else None
            here = field.annotation if field else None
        else:
            here = _item(here)
    return at, owner


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


def _is_scalar_union(annotation: Any) -> bool:
    """Whether a value may be of several kinds none of which has keys."""
    members = [m for m in _members(annotation) if m is not type(None)]
    return len(members) > 1 and _model(annotation) is None and not any(typing.get_origin(m) is dict for m in members)


def _item(annotation: Any) -> Any:
    for member in _members(annotation):
        arguments = typing.get_args(member)
        if arguments:
            return arguments[-1]
    return None
