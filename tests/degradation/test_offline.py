"""Degradation outside of training: a folder with its table, after a crash too, and the contact sheet."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

from paragonsr.cli import main
from paragonsr.config.load import load_config
from paragonsr.data.contact_sheet import PANEL, described
from paragonsr.data.images import read_image

Configure = Callable[..., Path]
Photographs = Callable[..., Path]
STEPS: list[dict[str, Any]] = [
    {"type": "resize", "prob": 0.5, "direction": {"down": 1}},
    {"type": "one_of", "branches": [{"steps": [{"type": "gaussian_noise"}]}, {"steps": [{"type": "poisson_noise"}]}]},
    {"type": "to_lr"},
    {"type": "jpeg", "quality": [40, 60]},
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "degradation.yml"
    path.write_text(yaml.safe_dump({"scale": 2, "degradation": {"type": "pipeline", "steps": STEPS}}))
    return path


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "parameters.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".degraded.jsonl"
    }


def test_a_folder_is_degraded_like_a_validation_set(
    config: Path, photographs: Photographs, tiny_config: Configure, tmp_path: Path
) -> None:
    hr = photographs("photos", 5, height=65, width=71)
    assert _run("data", "degrade", hr, tmp_path / "lr", "--config", config, "--workers", 2) == 0
    changes = {"datasets.val.degradation": {"type": "pipeline", "steps": STEPS}, "datasets.val.dataroot_gt": str(hr)}
    training = tiny_config(changes)
    packed = load_config(training).config.datasets["val"].open(2, "val")
    for index, name in enumerate(packed.names):
        np.testing.assert_array_equal(read_image(tmp_path / "lr" / name), packed.lq(index))
    # The training configuration, whose validation set has the degradation, gives the same.
    assert _run("data", "degrade", hr, tmp_path / "same", "--config", training, "--workers", 1) == 0
    assert _content(tmp_path / "same") == _content(tmp_path / "lr")


def test_every_image_has_a_row_of_its_parameters(config: Path, photographs: Photographs, tmp_path: Path) -> None:
    assert _run("data", "degrade", photographs("photos", 8), tmp_path / "lr", "--config", config, "--workers", 1) == 0
    rows = _rows(tmp_path / "lr")
    assert [row["image"] for row in rows] == [f"photo_{n:02d}.png" for n in range(8)]
    assert [int(row["sample"]) for row in rows] == list(range(8))
    assert all(40 <= int(row["3.jpeg.quality"]) <= 60 for row in rows)
    resized = [row for row in rows if row["0.resize.direction"]]
    assert 0 < len(resized) < 8
    assert all(0.15 <= float(row["0.resize.factor"]) <= 1 for row in resized)
    for row in rows:
        assert bool(row["1.one_of.0.0.gaussian_noise.sigma"]) == (row["1.one_of.branch"] == "0")
    assert list(rows[0])[:3] == ["image", "sample", "0.resize.aliased"]


def test_a_killed_run_is_completed(config: Path, photographs: Photographs, tmp_path: Path) -> None:
    hr = photographs("photos", 60, height=256, width=256)
    command = [sys.executable, "-m", "paragonsr", "data", "degrade", str(hr)]
    options = ["--config", str(config), "--workers", "1"]
    running = subprocess.Popen([*command, str(tmp_path / "lr"), *options], env=os.environ | {"PYTHONUNBUFFERED": "1"})
    rows = tmp_path / "lr" / ".degraded.jsonl"
    until = time.monotonic() + 120
    while not (rows.exists() and rows.read_bytes().count(b"\n") >= 8):
        assert running.poll() is None, "finished before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.002)
    workers = psutil.Process(running.pid).children()
    running.send_signal(signal.SIGKILL)
    running.wait()
    psutil.wait_procs(workers, timeout=10)
    done = rows.read_bytes()
    assert done.count(b"\n") < 60
    rows.write_bytes(done + b'["photo_59.png", 59, {"3.jpe')  # a line that the crash cut off
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "lr").glob("*.png")}
    assert _run("data", "degrade", hr, tmp_path / "lr", *options) == 0
    assert _run("data", "degrade", hr, tmp_path / "whole", *options) == 0
    left = {name: data for name, data in _content(tmp_path / "lr").items() if not name.endswith(".tmp")}
    assert left == _content(tmp_path / "whole")
    assert len(before) >= 8


def test_what_is_done_is_not_done_again(
    config: Path, photographs: Photographs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hr = photographs("photos", 3)
    for expected in ("3 of 3", "0 of 3"):
        assert _run("data", "degrade", hr, tmp_path / "lr", "--config", config, "--workers", 1) == 0
        assert f"{expected} LR images made" in capsys.readouterr().out
    (tmp_path / "lr" / "photo_01.png").unlink()
    assert _run("data", "degrade", hr, tmp_path / "lr", "--config", config, "--workers", 1) == 0
    assert "1 of 3 LR images made" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--seed", 1), "contains images of another degradation, seed or scale"),
        (("--scale", 4), "contains images of another degradation, seed or scale"),
    ],
)
def test_a_folder_of_another_degradation_is_kept(
    arguments: tuple[object, ...],
    said: str,
    config: Path,
    photographs: Photographs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hr, lr = photographs("photos", 2), tmp_path / "lr"
    assert _run("data", "degrade", hr, lr, "--config", config, "--workers", 1) == 0
    before = _content(lr)
    assert _run("data", "degrade", hr, lr, "--config", config, "--workers", 1, *arguments) == 2
    assert said in capsys.readouterr().err
    assert _content(lr) == before


def test_images_that_cannot_be_read_are_named_and_the_others_are_made(
    config: Path, photographs: Photographs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hr = photographs("photos", 3)
    (hr / "photo_01.png").write_bytes(b"no image")
    Image.new("RGB", (1, 1)).save(hr / "small.png")
    assert _run("data", "degrade", hr, tmp_path / "lr", "--config", config, "--workers", 1) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert "2 of 4 images have no LR image" in said
    assert "photo_01.png: is not an image" in said
    assert "small.png: 1 x 1 is smaller than the scale 2" in said
    assert [row["image"] for row in _rows(tmp_path / "lr")] == ["photo_00.png", "photo_02.png"]


def test_a_file_without_degradation(
    tiny_config: Configure, photographs: Photographs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("data", "degrade", photographs("photos", 1), tmp_path / "lr", "--config", tiny_config()) == 2
    assert "no data set of this configuration has a degradation" in capsys.readouterr().err
    bad = tmp_path / "bad.yml"
    bad.write_text("scale: 2\ndegradation:\n  type: pipeline\n  steps:\n    - type: jpeg\n      quality: 200\n")
    assert _run("degrade", tmp_path / "photos" / "photo_00.png", "--config", bad) == 2
    assert f"{bad}:6: degradation.steps.0.quality: should be between 1 and 100" in capsys.readouterr().err


def test_the_contact_sheet(config: Path, photographs: Photographs, capsys: pytest.CaptureFixture[str]) -> None:
    photo = photographs("photos", 1, height=300, width=400) / "photo_00.png"
    assert _run("degrade", photo, "--config", config, "--count", 5) == 0
    target = photo.with_name("photo_00_degraded.png")
    assert str(target) in capsys.readouterr().out
    sheet = read_image(target)
    assert sheet.shape[1] > 4 * PANEL
    crop = read_image(photo)[6:-6, 56:-56]
    np.testing.assert_array_equal(sheet[12 : 12 + PANEL, 12 : 12 + PANEL], crop)


def test_parameters_in_words() -> None:
    parameters: dict[str, Any] = {
        "0.blur.kernel": "iso",
        "0.blur.sigma": 1.2345,
        "1.one_of.branch": 1,
        "1.one_of.1.0.gaussian_noise.sigma": 3.0,
        "1.one_of.1.0.gaussian_noise.gray": True,
        "2.resize.aliased": False,
    }
    assert described(parameters) == ["blur iso, sigma 1.23", "gaussian_noise sigma 3, gray", "resize "]
    assert json.loads(json.dumps(parameters)) == parameters
