"""The tables of docs/automations.md have every key, with the default of the schema."""

from pathlib import Path
from typing import Any

import pytest

from paragonsr.automation.options import AutomationOptions, AutomationsOptions, LossBalanceOptions

DOCUMENT = Path(__file__).parents[2] / "docs" / "automations.md"
COMMON = {"enabled", "dry_run"}
"""Keys documented once for all automations, at the beginning of the document."""


def _sections() -> dict[str, type[AutomationOptions]]:
    """Section of the document -> the model of its keys."""
    several = AutomationsOptions.model_fields.items()
    models = {name: field.annotation for name, field in several if name != "enabled"}
    return models | {"dynamic_loss_scheduling": LossBalanceOptions}  # type: ignore[return-value]


def _table(section: str) -> dict[str, str]:
    """Key -> default, from the table of a section."""
    _, _, text = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {section}\n")
    text = text.partition("\n## ")[0]
    _, found, table = text.partition("| key | default | meaning |\n|---|---|---|\n")
    assert found, f"{section} has no table of its keys"
    keys: dict[str, str] = {}
    for line in table.partition("\n\n")[0].splitlines():
        names, defaults, meaning = (cell.strip() for cell in line.strip("|").split("|", 2))
        assert meaning
        keys |= zip(names.split(", "), defaults.split(", "), strict=True)
    return keys


def _spelt(default: Any) -> set[str]:
    """Accepted spellings of a default."""
    if default is None or default == {}:
        return {"none", "null"}
    if isinstance(default, bool):
        return {str(default).lower()}
    return {f"{default:g}", f"{default:.0e}".replace("e-0", "e-")} if isinstance(default, float) else {str(default)}


@pytest.mark.parametrize("section", _sections())
def test_a_table_has_the_keys_and_the_defaults_of_the_schema(section: str) -> None:
    fields = _sections()[section].model_fields
    table = _table(section)
    assert table.keys() | COMMON == fields.keys() | COMMON
    for key, written in table.items():
        default = fields[key].get_default(call_default_factory=True)
        assert written in _spelt(default), f"{section}.{key}: {written}, not {default!r}"


def test_the_document_explains_what_all_sections_have() -> None:
    beginning = DOCUMENT.read_text(encoding="utf-8").partition("\n## ")[0]
    for key in COMMON | {"fair"}:
        assert f"`{key}: true`" in beginning
