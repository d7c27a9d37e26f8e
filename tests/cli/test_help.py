"""Help of the commands: each shows two examples that can be run as printed."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from paragonsr.cli import app


def _commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    for key, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{name} {key}")
        else:
            yield f"{name} {key}", command


COMMANDS = dict(_commands(typer.main.get_command(app), "paragonsr"))


@pytest.mark.parametrize("name", COMMANDS)
def test_two_examples_that_the_command_accepts(name: str) -> None:
    command = COMMANDS[name]
    examples = re.findall(r"^ +(paragonsr .*)$", command.help, re.MULTILINE)
    assert len(examples) == 2
    for example in examples:
        words = shlex.split(example.partition(" > ")[0])
        assert " ".join(words).startswith(name)
        given = words[len(name.split()) :]
        # Parsing alone: it raises if an option is unknown, a value does not fit, or an argument is missing.
        command.make_context(name, given, resilient_parsing=False)


def test_an_example_with_an_unknown_option_would_be_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        COMMANDS["paragonsr check"].make_context("check", ["my.yml", "--fast"])
