"""The bundled models match their cards, and every command accepts their names."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

import paragonsr
from paragonsr import models
from paragonsr.archs.complexity import count_parameters
from paragonsr.cli import app
from paragonsr.config import load_config
from paragonsr.errors import UserError
from paragonsr.inference import choice
from paragonsr.inference.choice import best_model
from paragonsr.training.run import train

Configure = Callable[..., Path]
NAMES = models.names()
MOST_BYTES = 2_000_000
"""Maximum size of all models together."""


def _run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_there_are_some_and_they_are_small() -> None:
    assert "nano" in NAMES
    assert sum(file.stat().st_size for file in models.FOLDER.iterdir() if file.is_file()) < MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_the_weights_are(name: str) -> None:
    card, upscaler = models.card(name), paragonsr.load(name, device="cpu")
    assert (card["scale"], card["parameters"]) == (upscaler.scale, count_parameters(upscaler.network))
    assert all(card[key] for key in ("recipe", "trained_on", "licence"))
    for found in ("Set5", "Set14", "B100"):
        assert card["measured"][found].keys() == {"psnr_y", "ssim_y", "psnr"}


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_fp16_and_the_graph_is_the_same_network(name: str) -> None:
    with safe_open(models.FOLDER / f"{name}.safetensors", framework="pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    pytest.importorskip("onnxruntime")
    image = np.random.default_rng(0).integers(0, 256, (37, 45, 3), np.uint8)
    ours = paragonsr.load(name, device="cpu").upscale(image)
    theirs = paragonsr.load(models.FOLDER / f"{name}.onnx").upscale(image)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_has_no_path_of_the_machine_that_made_it(name: str) -> None:
    content = (models.FOLDER / f"{name}.onnx").read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_measured(name: str, shared: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    hr = shared / "data/benchmark/Set5/HR"
    _run("validate", "--model", name, "--hr", hr, "--metrics", "psnr_y,psnr", "--json", table)
    measured = json.loads(table.read_text(encoding="utf-8"))["mean"]["network"]
    for metric, value in measured.items():
        assert value == pytest.approx(models.card(name)["measured"]["Set5"][metric], abs=1e-3)


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert models.located("nano") == models.FOLDER / "nano.safetensors"
    assert models.located("experiments/nano") == Path("experiments/nano")
    Path("nano").write_bytes(b"")
    assert models.located("nano") == Path("nano")


def test_the_list_names_each_with_its_values() -> None:
    lines = _run("models").splitlines()
    for name in NAMES:
        (line,) = [line for line in lines if line.split() and line.split()[0] == name]
        assert f"{models.card(name)['measured']['Set14']['psnr_y']:.2f}" in line
    assert json.loads(_run("models", "nano"))["weights"] == str(models.FOLDER / "nano.safetensors")
    assert list(json.loads(_run("models", "--json"))) == NAMES


def test_an_unknown_one_is_answered() -> None:
    with pytest.raises(UserError, match="unknown model 'nono'"):
        _run("models", "nono")


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (20, 24, 3), np.uint8)).save(path)
    return path


def test_upscaling_needs_no_model_and_no_target(photograph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "megapixels_per_second", lambda upscaler: 2.0)
    said = _run("upscale", photograph)
    best = max((n for n in NAMES if models.card(n)["scale"] == 2), key=_quality)
    assert f"using the model {best}, 2.0 megapixels" in said
    assert Image.open(photograph.with_name("photo_x2.png")).size == (48, 40)


def _quality(name: str) -> float:
    return float(models.card(name)["measured"]["Set14"]["psnr_y"])


def test_a_slow_machine_gets_the_quickest_model(monkeypatch: pytest.MonkeyPatch) -> None:
    speed = {count_parameters(paragonsr.load(n).network): 0.5 / (i + 1) for i, n in enumerate(NAMES)}
    monkeypatch.setattr(choice, "megapixels_per_second", lambda upscaler: speed[count_parameters(upscaler.network)])
    assert best_model() == (next(n for n in NAMES if models.card(n)["scale"] == 2), 0.5)


@pytest.mark.parametrize(
    ("best", "quickest", "first"), [(1.06, 9, True), (1.04, 9, False), (0.7, 0.73, True), (0.7, 0.74, False)]
)
def test_a_model_is_passed_over_only_by_a_margin(
    best: float, quickest: float, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = {n: {"scale": 2, "measured": {"Set14": {"psnr_y": p}}} for n, p in (("quick", 30.0), ("good", 32.0))}
    monkeypatch.setattr(choice, "models", SimpleNamespace(names=lambda: list(cards), card=cards.__getitem__))
    monkeypatch.setattr(choice, "load", lambda name, **given: name)
    monkeypatch.setattr(choice, "megapixels_per_second", {"good": best, "quick": quickest}.__getitem__)
    assert best_model() == (("good", best) if first else ("quick", quickest))


def test_a_scale_without_a_model_is_answered() -> None:
    with pytest.raises(UserError, match="no bundled model has scale 8"):
        best_model(scale=8)


def test_training_starts_from_one_and_learns_from_one(tiny_config: Configure) -> None:
    changes = {"path.pretrain_network_g": "nano", "path.pretrain_network_g_teacher": "nano", "train.optim_g.lr": 1e-9}
    outcome = train(load_config(tiny_config(changes)).config)
    trained, given = paragonsr.load(outcome.weights).network, paragonsr.load("nano").network
    for a, b in zip(trained.parameters(), given.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("files", "meant"),
    [
        (["best.safetensors", "net_g_9.safetensors"], "best.safetensors"),
        (["net_g_9.safetensors", "net_g_10.safetensors", "notes.safetensors"], "net_g_10.safetensors"),
        ([], "best.safetensors"),
    ],
)
def test_the_folder_of_a_run_stands_for_its_weights(files: list[str], meant: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "models").mkdir()
    for name in files:
        (tmp_path / "models" / name).write_bytes(b"")
    assert models.located(tmp_path) == tmp_path / "models" / meant


def test_another_folder_is_taken_as_it_is_named(tmp_path: Path) -> None:
    assert models.located(tmp_path) == tmp_path
