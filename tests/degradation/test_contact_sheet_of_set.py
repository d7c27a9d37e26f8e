"""The contact sheet of a configured degradation: in `check` and in the report."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.data import listing
from paragonsr.data.contact_sheet import sheet_of_set
from paragonsr.data.packed import open_packed
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


def test_a_packed_set_is_not_walked(tiny_config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FEWEST_FILES", 1)
    monkeypatch.setattr(listing, "COARSEST_TIME_NS", -(10**12))
    config = load_config(tiny_config({"datasets.train.degradation": {"type": "realesrgan"}})).config
    given = config.datasets["train"], config.scale, "train", config.manual_seed
    walked = sheet_of_set(*given)
    assert walked is not None
    open_packed(*given[:3])

    def refused(*_: object) -> None:
        raise AssertionError("the folder was walked")

    monkeypatch.setattr("paragonsr.data.contact_sheet.find_pairs", refused)
    monkeypatch.setattr(listing.Files, "found", refused)
    stored = sheet_of_set(*given)
    assert stored is not None
    assert (stored == walked).all()


def test_the_report_shows_one(tiny_config: Configure) -> None:
    path = tiny_config({"datasets.train.degradation": {"type": "realesrgan"}, "train.total_iter": 2})
    folder = train(load_config(path).config).folder
    assert "What it makes of the first training image" in report_page(Run(folder))


def test_without_a_degradation_there_is_none(tiny_config: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", str(tiny_config()), "--no-measure"])
    assert "contact sheet" not in capsys.readouterr().out
