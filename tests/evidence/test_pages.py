"""The pages of a run and of a comparison: their content in every state of the run, and in a real browser."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.evidence.plots import smoothed, thinned
from paragonsr.evidence.report_page import report_page
from paragonsr.evidence.runs import Run
from paragonsr.training.engine.step import TrainStep
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PLATEAU = {
    "train.total_iter": 60,
    "train.observe_every": 5,
    "val.val_freq": 10,
    "train.scheduler": {"type": "ReduceLROnPlateau", "patience": 20, "threshold": 1.0},
}


class _Text(HTMLParser):
    """Visible text of a page, and its links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.links: list[str] = []
        self._hidden = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden = tag in ("script", "style")
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def _text(html: str) -> str:
    return " ".join(_Text(html).parts)


@pytest.fixture
def ended(tiny_config: Configure, photographs: Callable[..., Path]) -> TrainResult:
    """A run with two decisions, and validation images as large as a tile."""
    photographs("large", 1, height=200, width=208)
    path = tiny_config(PLATEAU)
    return train(load_config(path, [f"datasets.val.dataroot_gt={path.parent / 'large'}"]).config)


def test_the_report_of_an_ended_run(ended: TrainResult) -> None:
    html = report_page(Run(ended.folder))
    text = _text(html)
    assert "completed at iteration 60 of 60" in text
    assert "plateau" in text
    journal = [json.loads(line) for line in (ended.folder / "journal.jsonl").read_text().splitlines()]
    assert journal
    assert all(entry["reason"] in text for entry in journal)
    assert "train.total_iter" in text
    assert "psnr_y/crop=2/bt601-studio/uint8/mean-of-images" in text
    assert html.count("<img ") == 3, "gains, losses, and through time"
    assert re.search(
        r"Best on \w+: psnr \d+\.\d{3} dB at iteration \d+, \d+\.\d{3} dB (better|worse) than bicubic", text
    )
    order = [text.index(part) for part in ("Best on", "Pictures", "while training went on", "Validation", "Decisions")]
    assert order == sorted(order), "verdict and pictures come first"
    assert len(html) < 5e6
    assert all(link.startswith("data:") for link in _Text(html).links), "opens offline"


def test_the_report_of_a_crashed_run(tiny_config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    step, count = TrainStep.step, iter(range(100))

    def failing(*given: object, **named: object) -> object:
        if next(count) == 8:
            raise RuntimeError("the machine is on fire")
        return step(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(TrainStep, "step", failing)
    path = tiny_config()
    with pytest.raises(RuntimeError):
        train(load_config(path).config)
    folder = path.parent / "experiments" / "tiny"
    text = _text(report_page(Run(folder)))
    assert "The run crashed: RuntimeError: the machine is on fire" in text
    # Killed while writing: half a line and half a row at the ends of the files.
    with (folder / "journal.jsonl").open("a") as journal:
        journal.write('{"iteration": 8, "auto')
    with (folder / "observations.bin").open("ab") as steps:
        steps.write(b"\0" * 13)
    shutil.rmtree(path.parent / "val")
    text = _text(report_page(Run(folder)))
    assert "No automation has changed a setting" in text
    assert "validation images cannot be read" in text


def test_the_report_of_a_run_that_has_just_begun(tiny_config: Configure) -> None:
    path = tiny_config()
    outcome = train(load_config(path).config)
    for file in ("observations.bin", "validations.jsonl", "journal.jsonl", "models/best.safetensors"):
        (outcome.folder / file).unlink()
    text = _text(report_page(Run(outcome.folder)))
    assert "Nothing was validated yet" in text
    assert "no weights of a validation yet" in text


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["report", str(tmp_path)])
    assert caught.value.code == 2
    assert "not the folder of a run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_thinning_keeps_the_mean_and_leaves_nan_out() -> None:
    values = np.arange(1000.0)
    values[::7] = np.nan
    ends, means = thinned(values, points=100)
    assert ends.tolist() == list(range(10, 1001, 10))
    np.testing.assert_allclose(means, [np.nanmean(values[i : i + 10]) for i in range(0, 1000, 10)])
    assert np.isnan(thinned(np.full(3, np.nan))[1]).all()


def test_smoothing_is_a_centred_mean() -> None:
    values = np.random.default_rng(0).normal(size=200)
    values[50] = np.nan
    half = 3
    expected = [np.nanmean(values[max(0, i - half) : i + half + 1]) for i in range(200)]
    np.testing.assert_allclose(smoothed(values, share=0.03), expected)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_in_a_browser(ended: TrainResult, tmp_path: Path, scheme: str) -> None:
    assert CHROMIUM is not None
    page = tmp_path / "report.html"
    page.write_text(report_page(Run(ended.folder)), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--no-first-run", "--disable-component-update"]
    command += [f"--blink-settings=preferredColorScheme={'01'[scheme == 'light']}", "--virtual-time-budget=8000"]
    command += ["--window-size=1200,2400", "--enable-logging=stderr"]
    shot = tmp_path / "shot.png"
    done = subprocess.run(
        [*command, f"--screenshot={shot}", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "[bokeh" not in line]
    assert said == []
    dom = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    drawn = dom.stdout.count("bk-Value") + dom.stdout.count("data-root-id")
    assert drawn >= 8
    from PIL import Image

    pixels = np.asarray(Image.open(shot).convert("L"))
    assert bool(np.median(pixels[:, :20]) > 200) == (scheme == "light"), "the margin"
    assert pixels.std() > 5
