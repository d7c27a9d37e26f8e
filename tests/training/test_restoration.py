"""Scale 1: the network takes an image and gives one of the same size, from training to the finished picture."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from paragonsr.archs.weights import load_network
from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.errors import UserError
from paragonsr.inference.model import load
from paragonsr.metrics.psnr import psnr

STRANGERS = str(Path(__file__).parents[1] / "doors" / "strangers.py")
Configure = Callable[..., Path]
NOISE = 25


def _photograph(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    small = Image.fromarray(random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth pictures (hr) and the same with noise (lq); two to validate on, one of an odd size."""
    folder = tmp_path_factory.mktemp("noisy")
    random = np.random.default_rng(0)
    for phase, sizes in (("train", [(64, 72)] * 4), ("val", [(48, 56), (51, 37)])):
        for number, size in enumerate(sizes):
            hr = _photograph(random, *size)
            lq = np.clip(hr + random.normal(0, NOISE, hr.shape), 0, 255).round().astype(np.uint8)
            for kind, image in (("hr", hr), ("lq", lq)):
                (folder / phase / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(folder / phase / kind / f"{number}.png")
    return folder


def _changes(images: Path, **more: Any) -> dict[str, Any]:
    sets = {
        f"datasets.{phase}.{key}": value
        for phase in ("train", "val")
        for key, value in {
            "type": "pairedimagedataset",
            "dataroot_gt": str(images / phase / "hr"),
            "dataroot_lq": str(images / phase / "lq"),
        }.items()
    }
    return {"scale": 1, **sets, **{key.replace("__", "."): value for key, value in more.items()}}


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


def _saved(run: Path, iteration: int) -> dict[str, Any]:
    (file,) = (run / "models").glob(f"*_{iteration}.safetensors")
    return load_file(file)


@pytest.fixture
def trained(tiny_config: Configure, images: Path) -> tuple[Path, Path]:
    path = tiny_config(_changes(images, train__total_iter=120, val__val_freq=60, logger__save_checkpoint_freq=60))
    assert _run("train", path) == 0
    run = path.parent / "experiments" / load_config(path).config.name
    return path, run


def test_noise_is_taken_away_and_the_result_is_used(
    trained: tuple[Path, Path], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, run = trained
    for name in ("0", "1"):
        source, target = images / "val" / "lq" / f"{name}.png", tmp_path / f"{name}.png"
        assert _run("upscale", source, target, "--model", run, "--scale", 1) == 0
        hr, lq, sr = (np.asarray(Image.open(p)) for p in (images / "val" / "hr" / f"{name}.png", source, target))
        assert sr.shape == hr.shape
        assert psnr(sr, hr) > psnr(lq, hr) + 1
    capsys.readouterr()
    table = tmp_path / "values.json"
    code = _run(
        "validate", "--model", run, "--hr", images / "val" / "hr", "--lr", images / "val" / "lq", "--json", table
    )
    assert code == 0, capsys.readouterr().err
    assert "1.png" in table.read_text() or '"1"' in table.read_text()


def test_tiles_are_the_whole(trained: tuple[Path, Path], images: Path) -> None:
    upscaler = load(trained[1])
    image = np.asarray(Image.open(images / "train" / "lq" / "0.png"))
    whole, tiled = (upscaler.upscale(image, tile=tile) for tile in (0, 48))
    assert whole.shape == image.shape
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_weights_say_that_they_are_of_scale_1(trained: tuple[Path, Path]) -> None:
    assert load_network(trained[1]).scale == 1


def test_straight_is_resumed_to_the_bit(trained: tuple[Path, Path], tiny_config: Configure, images: Path) -> None:
    straight = _saved(trained[1], 120)
    path = trained[0]
    assert _run("train", path, "--fresh", "train.total_iter=60") == 0
    assert _run("train", path) == 0
    resumed = _saved(trained[1], 120)
    assert resumed.keys() == straight.keys()
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)


@pytest.mark.parametrize("phase", ["train", "val"])
def test_hr_images_alone_are_refused(phase: str, tiny_config: Configure, images: Path) -> None:
    changes = _changes(images) | {f"datasets.{phase}.type": "singleimagedataset"}
    del changes[f"datasets.{phase}.dataroot_lq"]
    with pytest.raises(UserError, match=rf"datasets.{phase}: at scale 1 the LQ images have to be given"):
        load_config(tiny_config(changes))


@pytest.mark.parametrize("kind", ["noisy", "blurry"])
def test_a_degradation_makes_the_lq_images(kind: str, tiny_config: Configure, images: Path) -> None:
    changes = {"scale": 1, "plugins": [STRANGERS], "train.total_iter": 3, "val.val_freq": 3}
    for phase in ("train", "val"):
        changes[f"datasets.{phase}.dataroot_gt"] = str(images / phase / "hr")
        changes[f"datasets.{phase}.degradation"] = {"type": kind}
    path = tiny_config(changes)
    assert _run("train", path) == 0
    (values,) = (path.parent / "experiments").glob("*/run.json")
    assert json.loads(values.read_text())["best"]["value"] > 10


def test_pairs_of_two_sizes_are_refused(
    tiny_config: Configure, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "lq"
    other.mkdir()
    for file in (images / "train" / "lq").iterdir():
        image = Image.open(file)
        image.resize((image.width // 2, image.height // 2)).save(other / file.name)
    assert _run("check", tiny_config(_changes(images) | {"datasets.train.dataroot_lq": str(other)})) == 2
    assert "0.png" in capsys.readouterr().err


def test_options_of_the_skip_upsampler_have_no_effect(
    tiny_config: Configure, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny_config(_changes(images, network_g__skip_upsampler="bicubic", train__total_iter=2))
    assert _run("train", path) == 0
    assert "network_g.skip_upsampler has no effect at scale 1" in capsys.readouterr().out
