"""Pages generated from the code are up to date."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tools import architecture, commands, keys, schema

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("made", [keys, commands], ids=["keys", "commands"])
def test_a_reference_is_what_the_code_says(made: object) -> None:
    written = made.PAGE.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert written == made.page(), "run: make references"  # type: ignore[attr-defined]


@pytest.mark.parametrize("folder", schema.SCHEMAS)
def test_the_schema_for_editors_is_that_of_the_code(folder: str) -> None:
    # In a separate process, because plugins of other tests are registered in this one.
    code = f"from tools import schema; print(schema.text(schema.SCHEMAS[{folder!r}]), end='')"
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert schema.path(folder).read_text(encoding="utf-8") == made, "run: make references"


@pytest.mark.parametrize("file", sorted((ROOT / "options").rglob("*.yml")), ids=lambda file: file.name)
def test_every_yaml_names_its_schema(file: Path) -> None:
    first = file.read_text(encoding="utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (file.parent / named).resolve() == schema.path(file.relative_to(ROOT / "options").parts[0])


def test_the_picture_of_the_architecture_is_that_of_the_code() -> None:
    written = architecture.PAGE.read_text(encoding="utf-8")
    assert written == architecture.page(written), "run: make references"


def test_there_is_no_import_circle() -> None:
    edges = architecture.arrows()
    for start, _ in edges:
        assert start not in architecture._reachable(start, edges), start


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
