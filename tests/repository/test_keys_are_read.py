"""D20: every key is read by some code."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from pydantic import BaseModel

from paragonsr.automation.options import AutomationsOptions
from paragonsr.config import Config
from paragonsr.config.load import load_config
from paragonsr.optim.options import AdamOptions, AdamWOptions, NAdamOptions

SOURCE = Path(__file__).parents[2] / "src" / "paragonsr"
ROOT = SOURCE.parents[1]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _walk(model: type[BaseModel], seen: set[type[BaseModel]]) -> None:
    if model in seen:
        return
    seen.add(model)
    registered = model.registry.entries() if "registry" in vars(model) else ()
    variants = [variant for variant in registered if variant.__module__.startswith("paragonsr.")]
    fields = (inner for field in model.model_fields.values() for inner in _models(field.annotation))
    for inner in (*variants, *fields):
        _walk(inner, seen)


@pytest.fixture(scope="module")
def models() -> set[type[BaseModel]]:
    """Every model that a configuration can contain."""
    seen: set[type[BaseModel]] = set()
    _walk(Config, seen)
    return seen


def _reads(source: str) -> set[str]:
    """Every attribute name read from one of our objects; names of libraries (np.percentile) are not our keys."""
    tree = ast.parse(source)
    foreign = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and not (getattr(node, "module", None) or node.names[0].name).startswith("paragonsr")
        for alias in node.names
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            if not (isinstance(node.value, ast.Name) and node.value.id in foreign):
                names.add(node.attr)
        elif isinstance(node, ast.MatchClass):
            names.update(node.kwd_attrs)
    return names


@pytest.fixture(scope="module")
def read() -> set[str]:
    """Every attribute name that any code reads."""
    return set().union(*(_reads(file.read_text(encoding="utf-8")) for file in SOURCE.rglob("*.py")))


def test_what_a_library_has_is_no_read_of_a_key() -> None:
    source = "import numpy as np\nfrom torch import nn\nnp.percentile(options.history, 5)\nnn.momentum"
    assert _reads(source) == {"history"}


def test_the_walk_reaches_the_leaves(models: set[type[BaseModel]]) -> None:
    names = {model.__name__ for model in models}
    assert {"NanoOptions", "MSSSIMLossOptions", "BatchSizeOptions", "PSNRYOptions", "WSDOptions"} <= names


def test_every_key_is_read(models: set[type[BaseModel]], read: set[str]) -> None:
    unread = []
    for model in models:
        for name, field in model.model_fields.items():
            only_value = get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
            handed_on = model in (AdamOptions, AdamWOptions, NAdamOptions) and _torch_takes(model, name)
            # The sections are walked as a mapping, plugins are imported before the configuration is checked.
            section = model is AutomationsOptions or name == "plugins"
            if name not in read and not only_value and not handed_on and not section:
                unread.append(f"{model.__name__}.{name}")
    assert sorted(unread) == []


def _torch_takes(model: type[BaseModel], name: str) -> bool:
    return name in inspect.signature(getattr(torch.optim, str(model.model_fields["type"].default))).parameters


@pytest.mark.parametrize("file", sorted((ROOT / "options/train").rglob("*.yml")), ids=lambda file: file.stem)
def test_our_configurations_have_no_key_without_a_meaning(file: Path) -> None:
    assert [note for note in load_config(file).warnings if "no meaning" in note] == []
