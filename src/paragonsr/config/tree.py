"""Helpers to navigate the tree of a configuration."""

from typing import Any

from paragonsr.config.yaml import Key

Tree = dict[str, Any]


def sections(tree: Tree, at: tuple[str, ...]) -> list[tuple[Key, Tree]]:
    """Sections at a path, where `*` is any key; each with its own path."""
    found: list[tuple[Key, Tree]] = [((), tree)]
    for part in at:
        found = [
            ((*here, key), inner)
            for here, section in found
            for key, inner in section.items()
            if part in ("*", key) and isinstance(inner, dict)
        ]
    return found


def carry_lines(lines: dict[Key, int], old: Key, new: Key) -> None:
    """Move the line numbers of everything at one path to another path."""
    if old != new:
        lines.update({(*new, *key[len(old) :]): line for key, line in lines.items() if key[: len(old)] == old})


def plain(name: Any) -> str:
    """A name in lower case without `_`; empty if it is not a name."""
    return name.lower().replace("_", "") if isinstance(name, str) else ""


def mappings(tree: Any) -> list[tuple[str, Tree]]:
    """Keys of a section whose values are sections."""
    return [(k, v) for k, v in tree.items() if isinstance(v, dict)] if isinstance(tree, dict) else []


def parent(tree: Tree, at: Key) -> Any:
    """Parent section of a path, created if absent or empty; None if a value on the way is not a section."""
    here: Any = tree
    for part in at[:-1]:
        if not isinstance(here, dict):
            return None
        if here.get(part) is None:
            here[part] = {}
        here = here[part]
    return here


def dotted(at: Key) -> str:
    """A path as written on the command line."""
    return ".".join(map(str, at))
