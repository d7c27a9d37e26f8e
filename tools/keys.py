"""Generates docs/reference/keys.md: every key of a configuration, from the docstrings of the options.

python -m tools.keys
"""

import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from paragonsr.automation.options import AutomationOptions
from paragonsr.config import Config
from paragonsr.options import Variant

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "keys.md"
INTRODUCTION = """# Keys

Every key of a configuration. This page is generated from the docstrings of the options (`python -m tools.keys`).
Keys without a default are required. `paragonsr schema` prints the same as a JSON schema for editors.
Keys of other trainers that are translated are listed in the messages of `paragonsr check`.
"""


def page() -> str:
    """Complete page."""
    seen: set[type[BaseModel]] = set()
    return "\n".join([INTRODUCTION, *_section(Config, "", seen)]) + "\n"


def _section(model: type[BaseModel], at: str, seen: set[type[BaseModel]]) -> Iterator[str]:
    """Table of a model, followed by those of nested models."""
    if model in seen:
        return
    seen.add(model)
    if "registry" in vars(model) and issubclass(model, Variant):
        model.registry.complete()
        for variant in model.registry.by_module():
            if variant.__module__.startswith("paragonsr."):
                yield from _section(variant, f"{at} · type: {variant.tag()}", seen)
        return
    yield f"\n## {at.removeprefix('.') or 'The top level'}\n"
    yield f"{_text(model.__doc__ or '')}\n"
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        if name != "type":
            yield f"| `{name}` | {_type(field.annotation)} | {_default(field)} | {_text(field.description or '')} |"
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            yield from _section(inner, f"{at}.{name}", seen)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)


def _type(annotation: Any) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return "null"
    if origin is typing.Annotated:
        return _type(parts[0])
    if origin is typing.Literal:
        return " or ".join(f"`{json.dumps(part).strip(chr(34))}`" for part in parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(part) for part in parts)
    if origin in (list, tuple):
        return f"list of {_type(parts[0])}"
    if origin is dict:
        return f"name -> {_type(parts[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section" if not issubclass(annotation, Variant | AutomationOptions) else "section, see below"
    plain = {"int": "whole number", "float": "number", "str": "text", "bool": "`true` or `false`", "Budget": "budget"}
    return plain.get(getattr(annotation, "__name__", str(annotation)), str(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    if field.default_factory is not None:
        return "depends" if field.default_factory not in (list, dict) else "none"
    if isinstance(field.default, BaseModel):
        return ""
    return f"`{json.dumps(field.default)}`"


def _text(text: str) -> str:
    """A docstring in one line, safe inside a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
