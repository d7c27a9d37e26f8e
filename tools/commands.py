"""Generates docs/reference/cli.md: every command, from its help.

python -m tools.commands
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import typer.main

from paragonsr.cli import app

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
INTRODUCTION = """# Commands

This page is generated from the help of the commands (`python -m tools.commands`); `paragonsr COMMAND --help` shows the
same. Every command exits with 0 on success, 2 on invalid input and 1 on an internal error; `--debug` adds a traceback.
"""


def page() -> str:
    """Complete page."""
    root: Any = typer.main.get_command(app)
    return "\n".join([INTRODUCTION, *_group(root, "paragonsr")]) + "\n"


def _group(group: Any, name: str) -> Iterator[str]:
    context = click.Context(group)
    for key in group.list_commands(context):
        command = group.get_command(context, key)
        if hasattr(command, "list_commands"):
            yield from _group(command, f"{name} {key}")
        elif not command.hidden:
            yield from _command(command, f"{name} {key}")


def _command(command: Any, name: str) -> Iterator[str]:
    parameters = [p for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
    arguments = [p for p in parameters if p.param_type_name == "argument"]
    yield f"\n## {name}\n"
    for paragraph in (command.help or "").split("\n\n"):
        example = paragraph.lstrip().startswith("paragonsr ")
        yield f"{'    ' if example else ''}{_text(paragraph)}\n"
    yield f"    {' '.join([name, *(_argument(p) for p in arguments)])}\n"
    yield "| argument or option | default | meaning |"
    yield "|---|---|---|"
    for p in parameters:
        shown = _argument(p) if p.param_type_name == "argument" else ", ".join((*p.opts, *p.secondary_opts))
        yield f"| `{shown}` | {_default(p)} | {_text(getattr(p, 'help', '') or '')} |"


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name).upper()
    shown = name if parameter.required else f"[{name}]"
    return f"{shown}..." if parameter.nargs == -1 else shown


def _default(parameter: Any) -> str:
    value = parameter.default
    return "" if value is None or callable(value) or value in ((), []) else f"`{value}`"


def _text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
