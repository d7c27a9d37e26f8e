"""The architecture: layers, lazy imports, file lengths."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "paragonsr"

GROUND = ("archs", "metrics", "optim", "degradation", "discriminators", "features")
"""Packages that do not import each other."""
BELOW_TRAINING = set(GROUND) | {"losses", "models", "data", "automation", "loggers", "inference", "config"}
MAY_USE = {
    **{package: set[str]() for package in GROUND},
    "losses": {"optim", "discriminators", "features"},
    "metrics": {"features"},
    "models": set(),
    "html": set(),
    "archs": {"models"},
    "data": {"degradation"},
    "automation": set(),
    "loggers": {"automation"},
    "inference": {"archs", "data", "metrics", "models"},
    "export": {"archs", "data", "inference", "models"},
    "serve": {"archs", "data", "export", "inference", "models"},
    "curation": {"data", "degradation", "html"},
    "calibration": {"curation", "data", "degradation", "html"},
    "config": set(GROUND) | {"losses", "data", "automation", "loggers"},
    "training": BELOW_TRAINING | {"calibration"},
    "evidence": BELOW_TRAINING | {"html", "training"},
    "cli": BELOW_TRAINING | {"calibration", "training", "evidence", "export", "serve", "curation"},
}
TRAINING = ("control", "engine", "reporting", "checkpoint", "loop", "assembly", "run")
"""The parts of paragonsr.training from bottom to top; modules not listed here are above `checkpoint`."""


def _imported_packages(file: Path) -> set[str]:
    packages = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        packages |= {name.split(".")[1] for name in names if name.startswith("paragonsr.")}
    return packages & MAY_USE.keys()


@pytest.mark.parametrize("package", MAY_USE)
def test_no_import_runs_upward(package: str) -> None:
    files = list((SOURCE / package).rglob("*.py"))
    assert files
    for file in files:
        assert _imported_packages(file) - {package} <= MAY_USE[package], file


def test_configuration_stands_on_options_alone() -> None:
    for file in (SOURCE / "config").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("paragonsr."):
                package, _, module = node.module.removeprefix("paragonsr.").partition(".")
                if package in MAY_USE and package != "config":
                    assert module.endswith("options"), f"{file}: {node.module}"


def test_automations_know_only_numbers() -> None:
    for file in (SOURCE / "automation").glob("*.py"):
        assert "torch" not in file.read_text(encoding="utf-8").replace("torch's", ""), file


def test_checking_a_configuration_imports_no_torch() -> None:
    code = "import sys, paragonsr.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_no_import_inside_training_runs_upward() -> None:
    order = {name: level for level, name in enumerate(TRAINING)}
    for file in (SOURCE / "training").rglob("*.py"):
        own = file.relative_to(SOURCE / "training").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("paragonsr.training."):
                other = str(node.module).split(".")[2]
                if own in order and other in order:
                    assert order[other] <= order[own], f"{file}: {node.module}"
                elif own in order:
                    assert order[own] > order["checkpoint"], f"{file}: {node.module}"


def test_no_file_is_longer_than_one_thing() -> None:
    long = {f.name: n for f in SOURCE.rglob("*.py") if (n := len(f.read_text(encoding="utf-8").splitlines())) > 400}
    assert long == {}
