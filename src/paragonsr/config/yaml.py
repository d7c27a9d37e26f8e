"""YAML with line numbers: a plain tree, and the line that each of its keys stands on."""

import re
from pathlib import Path
from typing import Any

import yaml

from paragonsr.errors import UserError

Key = tuple[str | int, ...]
"""Where a value stands: the keys and list positions that lead to it."""
ON_COMMAND_LINE = 0
"""Stands for the line of a key that was given on the command line."""


def place(file: str, line: int | None) -> str:
    """Where a key stands, for messages; None where no line is known."""
    if line == ON_COMMAND_LINE:
        return "command line"
    return file if line is None else f"{file}:{line}"


class _Loader(yaml.SafeLoader):
    """SafeLoader that also reads `1e-4` as a number: YAML 1.1 wants a dot there, and no user does."""

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float | int:
        """A whole number is a count, however it is written: 5e3, 5000.0, !!float 5000."""
        value: float = super().construct_yaml_float(node)
        return int(value) if value.is_integer() else value

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """A value; one that does not fit its tag (`!!bool perhaps`, `!!float ''`) is an error with its line."""
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            tag = node.tag.rpartition(":")[2]
            said = f"{node.value!r:.60} is not {'an' if tag == 'int' else 'a'} {tag}"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark) from error


_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)

_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""^(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?
            |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
            |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
        re.X,
    ),
    list("-+0123456789."),
)


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[Key, int]]:
    """Read a YAML mapping.

    Returns:
        the tree, and for each key in it the line (from 1) that it stands on.

    Raises:
        UserError: the file cannot be read, is not YAML, is not a mapping, or has a duplicate key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            "this file does not exist", where=str(path), fix="Give the path of a YAML configuration."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read as text: {error}", where=str(path)) from None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise UserError("not a mapping of keys to values", where=str(path))
        lines: dict[Key, int] = {}
        return _construct(loader, node, (), lines, path), lines
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"invalid YAML: {error.problem}", where=f"{path}:{line}", fix="Fix this line.") from None
    except yaml.YAMLError as error:
        raise UserError(f"invalid YAML: {error}", where=str(path)) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"invalid YAML: {error}", where=str(path)) from None


def parse_scalar(text: str) -> Any:
    """The value of an override given on the command line, read as YAML ("1e-4", "[1, 2]", "null")."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UserError(f"{text!r} is not a YAML value", where="command line") from None


def _require_plain_keys(loader: _Loader, node: yaml.MappingNode, path: Path) -> None:
    """Refuse keys that are lists or mappings, and keys that stand in one mapping more than once."""
    seen: set[Any] = set()
    for key_node, _ in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise UserError(
                "a key must be a word, not a list or a mapping", where=f"{path}:{line}", fix="Fix this line."
            )
        key = loader.construct_object(key_node) if key_node.value != "<<" else "<<"
        if key in seen:
            raise UserError(f"`{key}`: duplicate key", where=f"{path}:{line}", fix="Keep one of them.")
        seen.add(key)


def _construct(loader: _Loader, node: yaml.Node, at: Key, lines: dict[Key, int], path: Path) -> Any:
    if isinstance(node, yaml.MappingNode):
        _require_plain_keys(loader, node, path)
        loader.flatten_mapping(node)
        tree: dict[Any, Any] = {}
        for key_node, value_node in node.value:  # those that are merged (<<) come first, and give way to the others
            key = loader.construct_object(key_node)
            line = key_node.start_mark.line + 1
            lines[*at, key] = line
            tree[key] = _construct(loader, value_node, (*at, key), lines, path)
        return tree
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            lines[*at, index] = item.start_mark.line + 1
            items.append(_construct(loader, item, (*at, index), lines, path))
        return items
    return loader.construct_object(node, deep=True)
