"""Loads a `Config` from a YAML file and overrides, and reports all errors at once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from paragonsr.config.legacy import Legacy
from paragonsr.config.problems import describe
from paragonsr.config.rescaling import fitted, rescaling
from paragonsr.config.schema import Config, import_named_plugins
from paragonsr.config.yaml import ON_COMMAND_LINE, Key, parse_scalar, read_yaml
from paragonsr.errors import UserError


@dataclass(frozen=True)
class Loaded:
    """A configuration with its warnings."""

    config: Config
    path: Path
    warnings: tuple[str, ...]
    """Warnings about keys that were accepted but ignored, or renamed; each once."""


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read and check a configuration.

    Args:
        path: a YAML file.
        overrides: such as "train.total_iter=2000"; a number in the key is a list index. "key=~" removes the key, so
            that its default applies.

    Raises:
        UserError: the configuration is invalid; the message lists every problem with its line.
    """
    path = Path(path)
    path = path.expanduser()
    tree, lines = read_yaml(path)
    for text in overrides:
        override(tree, text, lines)
    _drop_names_of_replaced_images(tree, lines)
    import_named_plugins(tree)  # what they add is not refused as something that is not built
    legacy = Legacy(tree, lines, str(path))
    legacy.rewrite()
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise UserError("\n".join([*legacy.refused, describe(error, Config, str(path), lines)])) from None
    if legacy.refused:
        raise UserError("\n".join(legacy.refused))
    warnings = list(legacy.warnings)
    config, renamed = _named_by_its_scale(config, lines)
    warnings += renamed
    if config.fair:
        config = config.made_fair()
    if config.train.budget is not None:
        total = config.train.budget.iterations(config.batch)
        if total is not None:
            config, before = fitted(config, total), config
            warnings.append(rescaling(before, config))
    return Loaded(config, path, tuple(warnings))


def _drop_names_of_replaced_images(tree: dict[str, Any], lines: dict[Key, int]) -> None:
    """Drop the name of a set if its images are replaced on the command line: the name belongs to the file's images."""
    sets = tree.get("datasets")
    for phase, options in sets.items() if isinstance(sets, dict) else ():
        key = ("datasets", phase)
        if lines.get((*key, "dataroot_gt")) == ON_COMMAND_LINE and lines.get((*key, "name")) != ON_COMMAND_LINE:
            options.pop("name", None)


def _named_by_its_scale(config: Config, lines: dict[Key, int]) -> tuple[Config, list[str]]:
    """Rename a run that the file calls 2x... if its scale is different, and return a note about it."""
    match = re.match(r"(\d+)x", config.name)
    if match is None or int(match[1]) == config.scale or lines.get(("name",)) == ON_COMMAND_LINE:
        return config, []
    name = f"{config.scale}x{config.name[match.end() :]}"
    note = f"name: {config.name}, but the scale is {config.scale}: the run is called {name}"
    return config.model_copy(update={"name": name}), [note]


def override(tree: dict[str, Any], text: str, lines: dict[Key, int]) -> None:
    """Change one key of a tree, as `load_config` does for each of its overrides.

    Args:
        tree: the configuration tree, changed in place.
        text: "key=value".
        lines: line of each key; the key is marked as coming from the command line.

    Raises:
        UserError: the text is not an override, or its key does not exist.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(
            f"{text!r} is not an override",
            where="command line",
            fix="Write key=value, for example train.total_iter=2000.",
        )
    *sections, last = name.split(".")
    here: Any = tree
    at: Key = ()
    for section in sections:
        at = (*at, _position(here, section, name) if isinstance(here, list) else section)
        if isinstance(here, dict) and here.get(section) is None:
            lines[at] = ON_COMMAND_LINE
        here = _step(here, section, name)
    given = parse_scalar(value)
    at = (*at, _position(here, last, name) if isinstance(here, list) else last)
    if given is None and isinstance(here, dict):
        here.pop(last, None)
    else:
        here[at[-1]] = given
    for key in [key for key in lines if key[: len(at)] == at]:
        del lines[key]
    lines[at] = ON_COMMAND_LINE


def _step(here: Any, part: str, name: str) -> Any:
    if isinstance(here, list):
        inner = here[_position(here, part, name)]
    else:
        if here.get(part) is None:
            here[part] = {}
        inner = here[part]
    if not isinstance(inner, dict | list):
        raise UserError(f"{name}: `{part}` is a value, not a section", where="command line")
    return inner


def _position(here: list[Any], part: str, name: str) -> int:
    if not (part.isascii() and part.isdigit()) or int(part) >= len(here):
        raise UserError(f"{name}: the list has indices 0 to {len(here) - 1}, not {part!r}", where="command line")
    return int(part)
