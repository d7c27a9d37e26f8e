"""Messages are in plain English: the worst patterns do not come back."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "paragonsr"
WORST = {
    r"(?<!there )(?<!There )\b(is|are) no [a-z]+": "say what it is: 'is not a ...', 'unknown ...'",
    r"\btwice\b.*\bstands?\b|\bstands? here\b": "duplicate key",
    r"\bmend(s|ed)?\b": "fix",
    r"\banew\b": "again, start over",
    r"\bno fault of\b": "this is a bug in paragonsr",
    r"\bgo(es)? on\b": "continue",
    r"\blikewise\b": "say it straight",
    r"\bpulls?\b": "gradient",
    r"\benlarg": "upscale",
    r"\bstopped to pay\b": "no longer pays off",
}


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """All strings of a module except docstrings, with their lines."""
    docs = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


@pytest.mark.parametrize("pattern", WORST)
def test_no_message_has_the_worst_patterns(pattern: str) -> None:
    found = [
        f"{file.relative_to(SOURCE)}:{line}: {text!r}"
        for file in SOURCE.rglob("*.py")
        for line, text in _texts(ast.parse(file.read_text(encoding="utf-8")))
        if re.search(pattern, text) and "SELECT" not in text
    ]
    assert found == [], WORST[pattern]


def test_what_to_do_is_a_sentence() -> None:
    """The fix of an error begins with a capital, unless it is a command or a key."""
    wrong = []
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for keyword in node.keywords if isinstance(node, ast.Call) else ():
                value = keyword.value
                if keyword.arg == "fix" and isinstance(value, ast.Constant) and isinstance(value.value, str):
                    command = re.match(r"(pip|paragonsr|python|torchrun) |[a-z_.]+[=:]", value.value)
                    if not (command or value.value[:1].isupper()):
                        wrong.append(f"{file.relative_to(SOURCE)}:{node.lineno}: {value.value!r}")
    assert wrong == []
