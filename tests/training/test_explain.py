"""`paragonsr explain`: active automations, what they watch and may change, and every key once, in 80 columns."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paragonsr.automation.options import AutomationsOptions
from paragonsr.cli import main

Configure = Callable[..., Path]
SECTIONS = [name for name in AutomationsOptions.model_fields if name != "enabled"]


def _explained(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["explain", str(path)])
    assert not ended.value.code
    return capsys.readouterr().out


def test_every_automation_says_what_it_watches_and_how_it_is_set(
    tiny_config: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    switched: dict[str, Any] = {name: {"enabled": True} for name in SECTIONS}
    switched["early_stopping"] |= {"patience": 77}
    switched["adaptive_gradient_clipping"] |= {"dry_run": True}
    switched["fidelity_budget"] |= {"dry_run": True}  # acting, it excludes the loss balance
    sharpening = {"train.losses": [{"type": "l1loss"}, {"type": "ganloss"}], "val.metrics.flip": {"type": "flip"}}
    balance = {"enabled": True, "auto_calibrate": True, "min_weight": 1e-6}
    out = _explained(
        tiny_config({"train.training_automations": switched, "train.dynamic_loss_scheduling": balance} | sharpening),
        capsys,
    )
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80, "of a usual terminal"
    for name in ("texture_variance", "edge_density", "color_variation", "complexity", "late_share"):
        assert re.search(rf"^  {name} +0\.\d+", out, re.MULTILINE), "the calibration table"
    paragraphs = {text.splitlines()[0]: text for text in out.split("\n\n")}
    assert {"dynamic_loss_scheduling", "divergence_guard", *SECTIONS} <= paragraphs.keys()
    for name in ("dynamic_loss_scheduling", *SECTIONS):
        assert "  watches     " in paragraphs[name]
        assert "  may change  " in paragraphs[name]
        for key in _keys(name):
            assert len(re.findall(rf"\b{key}: ", paragraphs[name])) == 1, key
    assert "as written  patience: 77" in paragraphs["early_stopping"]
    assert "may change  nothing (dry run; otherwise grad_clip)" in paragraphs["adaptive_gradient_clipping"]
    assert "auto_calibrate: true  min_weight: 1e-06" in paragraphs["dynamic_loss_scheduling"]


def _keys(section: str) -> list[str]:
    from paragonsr.automation.options import LossBalanceOptions

    field = AutomationsOptions.model_fields.get(section)
    model: Any = field.annotation if field else LossBalanceOptions
    return [name for name in model.model_fields if name not in ("enabled", "dry_run")]


def test_what_is_off_is_named(tiny_config: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    out = _explained(tiny_config({"train.training_automations": {"early_stopping": {"enabled": True}}}), capsys)
    (off,) = re.findall(r"^  off +(.*(?:\n {14}.*)*)", out, re.MULTILINE)
    assert set(off.split()) == {"dynamic_loss_scheduling", *SECTIONS} - {"early_stopping"}


def test_images_that_are_missing_are_named(
    tiny_config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny_config({"datasets.train.dataroot_gt": str(tmp_path / "nowhere")})
    with pytest.raises(SystemExit) as ended:
        main(["explain", str(path)])
    assert ended.value.code == 2
    assert "nowhere" in capsys.readouterr().err
