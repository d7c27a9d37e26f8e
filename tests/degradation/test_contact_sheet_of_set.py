"""The contact sheet of a configured degradation: in `check` and in the report."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.evidence.report_page import report_page
from paragonsr.evidence.runs import Run
from paragonsr.training.run import train

Configure = Callable[..., Path]


def test_check_writes_one(tiny_config: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny_config({"datasets.train.degradation": {"type": "realesrgan"}})
    with pytest.raises(SystemExit) as ended:
        main(["check", str(path), "--no-measure"])
    assert not ended.value.code
    assert "/experiments/tiny_degradation.png" in capsys.readouterr().out
    with Image.open(path.parent / "experiments" / "tiny_degradation.png") as sheet:
        assert sheet.width == 4 * 300 + 12


def test_the_report_shows_one(tiny_config: Configure) -> None:
    path = tiny_config({"datasets.train.degradation": {"type": "realesrgan"}, "train.total_iter": 2})
    folder = train(load_config(path).config).folder
    assert "What it makes of the first training image" in report_page(Run(folder))


def test_without_a_degradation_there_is_none(tiny_config: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", str(tiny_config()), "--no-measure"])
    assert "contact sheet" not in capsys.readouterr().out
