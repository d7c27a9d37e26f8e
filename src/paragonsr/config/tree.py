"""Finding one's way in the tree of a configuration."""

from typing import Any

from paragonsr.config.yaml import Key

Tree = dict[str, Any]


def sections(tree: Tree, at: tuple[str, ...]) -> list[tuple[Key, Tree]]:
    """The sections that stand at a place, where `*` is any key; each with where it stands."""
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
    """What stood at one place stands at another now: its lines go with it."""
    if old != new:
        lines.update({(*new, *key[len(old) :]): line for key, line in lines.items() if key[: len(old)] == old})


def plain(name: Any) -> str:
    """A name without its `_` and in lower case; empty where it is no name."""
    return name.lower().replace("_", "") if isinstance(name, str) else ""


def mappings(tree: Any) -> list[tuple[str, Tree]]:
    """The keys of a section that are sections themselves."""
    return [(k, v) for k, v in tree.items() if isinstance(v, dict)] if isinstance(tree, dict) else []


def parent(tree: Tree, at: Key) -> Any:
    """What holds the place, made where it is absent or empty; what is no mapping has no places."""
    here: Any = tree
    for part in at[:-1]:
        if not isinstance(here, dict):
            return None
        if here.get(part) is None:
            here[part] = {}
        here = here[part]
    return here


def dotted(at: Key) -> str:
    """A place as it is written on the command line."""
    return ".".join(map(str, at))
