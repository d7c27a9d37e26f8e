"""The house rules: floors, lazy imports, file lengths."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "paragonsr"

MAY_USE = {
    "archs": set(),
    "losses": set(),
    "metrics": set(),
    "optim": set(),
    "data": set(),
    "automation": set(),
    "inference": {"archs", "data", "metrics"},
    "export": {"archs", "inference"},
    "serve": {"archs", "data", "inference"},
    "curation": {"data"},
    "config": {"archs", "losses", "metrics", "optim", "data", "automation"},
    "training": {"archs", "losses", "metrics", "optim", "data", "automation", "inference", "config"},
    "evidence": {"archs", "losses", "metrics", "optim", "data", "automation", "inference", "config", "training"},
    "cli": {
        *("evidence", "archs", "losses", "metrics", "optim", "data", "automation", "inference", "config", "training"),
        *("export", "serve", "curation"),
    },
}


def _imported_rooms(file: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("paragonsr.")}
    return rooms & MAY_USE.keys()


@pytest.mark.parametrize("room", MAY_USE)
def test_no_import_runs_upward(room: str) -> None:
    files = list((SOURCE / room).rglob("*.py"))
    assert files
    for file in files:
        assert _imported_rooms(file) - {room} <= MAY_USE[room], file


def test_configuration_stands_on_options_alone() -> None:
    for file in (SOURCE / "config").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("paragonsr."):
                room, _, module = node.module.removeprefix("paragonsr.").partition(".")
                if room in MAY_USE and room != "config":
                    assert module.endswith("options"), f"{file}: {node.module}"


def test_automations_know_only_numbers() -> None:
    for file in (SOURCE / "automation").glob("*.py"):
        assert "torch" not in file.read_text(encoding="utf-8").replace("torch's", ""), file


def test_checking_a_configuration_imports_no_torch() -> None:
    code = "import sys, paragonsr.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_no_file_is_longer_than_one_thing() -> None:
    long = {f.name: n for f in SOURCE.rglob("*.py") if (n := len(f.read_text(encoding="utf-8").splitlines())) > 400}
    assert long == {}
