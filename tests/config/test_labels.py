"""Names of runs and sets follow what they contain."""

from collections.abc import Callable
from pathlib import Path

import pytest

from paragonsr.config import load_config
from paragonsr.data.options import SingleOptions

Configure = Callable[..., Path]


@pytest.mark.parametrize(
    ("folder", "title"),
    [
        ("datasets/benchmark/Set5/HR", "Set5"),
        ("my photos", "my photos"),
        ("/data/DIV2K/valid_HR", "valid_HR"),
        ("birds/GT_x2/", "birds"),
        ("birds/images/4", "birds"),
        ("selection.jsonl", "selection"),
        ("HR", "val_3"),
    ],
)
def test_a_set_is_called_as_its_folder(folder: str, title: str) -> None:
    assert SingleOptions(dataroot_gt=folder).title("val_3") == title
    assert SingleOptions(dataroot_gt=folder, name="mine").title("val_3") == "mine"


def test_own_images_do_not_keep_the_name_of_the_templates(tiny_config: Configure) -> None:
    path = tiny_config({"datasets.val.name": "Set5"})
    titles = [
        load_config(path, overrides).config.datasets["val"].title("val")
        for overrides in (
            [],
            ["datasets.val.dataroot_gt=/home/me/birds"],
            ["datasets.val.dataroot_gt=/home/me/birds", "datasets.val.name=B"],
        )
    ]
    assert titles == ["Set5", "birds", "B"]


def test_a_run_is_called_by_its_scale(tiny_config: Configure) -> None:
    path = tiny_config({"name": "2xNano"})
    loaded = load_config(path, ["scale=4"])
    assert loaded.config.name == "4xNano"
    assert any("4xNano" in warning for warning in loaded.warnings)
    assert load_config(path).config.name == "2xNano"
    assert load_config(path, ["scale=4", "name=2xMine"]).config.name == "2xMine"
    assert load_config(tiny_config({"name": "nano2x"}), ["scale=4"]).config.name == "nano2x"


def test_a_budgets_table_leaves_out_automations_that_are_off(tiny_config: Configure) -> None:
    sections = {"early_stopping": {"enabled": True, "patience": 50}, "adaptive_gradient_clipping": {"enabled": False}}
    loaded = load_config(tiny_config({"train.training_automations": sections, "train.budget": "24 samples"}))
    (table,) = [warning for warning in loaded.warnings if warning.startswith("budget")]
    assert "early_stopping.patience" in table
    assert "adaptive_gradient_clipping" not in table
    assert "intelligent_learning_rate_scheduler" not in table
