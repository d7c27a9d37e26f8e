"""Training without a configuration: what is written for a folder of photographs, and that it trains."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.errors import UserError
from paragonsr.recipes.photos import SCALES, SIZES, Recipe


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARAGONSR_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / "My photos" / ("a" if number % 2 else "")
        folder.mkdir(parents=True, exist_ok=True)
        small = random.integers(0, 256, (17, 19, 3), np.uint8)
        Image.fromarray(small).resize((152, 136), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return tmp_path / "My photos"


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[object, str]:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return caught.value.code, said.out + said.err


def _names(manifest: Path) -> set[str]:
    return {json.loads(line)["path"] for line in manifest.read_text().splitlines()[1:]}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", SIZES)
def test_every_choice_loads_without_a_warning(size: str, scale: int, photos: Path) -> None:
    file = Path("some where") / "of mine.yml"
    Recipe(photos, scale, size, "6h").write(file, ["paragonsr", "init"])
    loaded = load_config(file)
    config = loaded.config
    assert config.scale == scale
    assert config.network.type == f"paragonsr2_{size}"
    assert str(config.train.budget) == "6h"
    assert config.name == f"{scale}x_My_photos_{size}"
    assert not [note for note in loaded.warnings if "budget" not in note]


@pytest.mark.parametrize(
    ("size", "scale", "start", "strict", "blocks"),
    [
        ("nano", 2, "nano", True, 4),
        ("nano", 4, "nano_x4", True, 4),
        ("nano", 3, "nano", False, 5),
        ("s", 2, None, True, 0),
    ],
)
def test_what_a_training_starts_from(
    size: str, scale: int, start: str | None, strict: bool, blocks: int, photos: Path
) -> None:
    Recipe(photos, scale, size).write(Path("mine.yml"), [])
    config = load_config("mine.yml").config
    assert (config.path.pretrain_network_g, config.path.strict_load_g) == (start, strict)
    assert not blocks or config.network.model_dump()["num_blocks"] == blocks


def test_no_photograph_is_both_trained_on_and_held_out(photos: Path) -> None:
    for name in ("one.yml", "two.yml"):
        Recipe(photos).write(Path(name), [])
    trained, held_out = _names(Path("one_train.jsonl")), _names(Path("one_val.jsonl"))
    assert (len(trained), len(held_out), trained & held_out) == (11, 1, set())
    assert trained | held_out == {p.relative_to(photos).as_posix() for p in photos.rglob("*.png")}
    assert held_out == _names(Path("two_val.jsonl"))


@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (12, 1), (36, 4), (400, 16)])
def test_how_many_are_held_out(count: int, held_out: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    for number in range(count):
        (tmp_path / "p" / f"{number}.jpg").write_bytes(b"not opened")
    Recipe(Path("p")).write(Path("c.yml"), [])
    assert len(_names(Path("c_val.jsonl"))) == held_out


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_photographs_are_too_few(count: int, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.png").write_bytes(b"x")
    with pytest.raises(UserError, match="there are no photographs" if count == 0 else "there is only one photograph"):
        Recipe(folder).write(tmp_path / "c.yml", [])
    assert not (tmp_path / "c.yml").exists()


def test_it_trains_and_the_same_command_continues(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("train", photos, "--scale", 4, "--for", "6it", "datasets.train.lq_size=16", "val.val_freq=3")
    code, said = _run(capsys, *command)
    assert code == 0, said
    assert "finished after iteration 6" in said
    assert ", bicubic " in said
    weights = Path("experiments/4x_My_photos_nano/models/best.safetensors")
    assert weights.is_file()
    assert f"paragonsr upscale IMAGES RESULTS --model {weights.parents[1]}" in said
    code, said = _run(capsys, *command)
    assert (code, "this run is complete" in said) == (0, True)
    code, said = _run(capsys, "upscale", photos / "0.png", "big.png", "--model", weights.parents[1])
    assert code == 0, said
    with Image.open("big.png") as image:
        assert image.size == (608, 544)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--scale", "5"), "scale 5 is not supported"),
        (("--size", "huge"), "unknown size 'huge'"),
        (("--for", "soon"), "train.budget"),
    ],
)
def test_a_choice_that_does_not_exist(
    arguments: tuple[str, ...], said: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = _run(capsys, "train", photos, *arguments)
    assert (code, said in printed, "bug in paragonsr" in printed) == (2, True, False), printed


def test_choices_go_with_photographs_only(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Recipe(photos).write(Path("mine.yml"), [])
    code, said = _run(capsys, "train", "mine.yml", "--scale", 4)
    assert (code, "--scale goes with a folder of photographs" in said) == (2, True)


def test_init_writes_a_file_and_says_what_to_do_with_it(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = _run(capsys, "init", photos, "--scale", 3, "--out", "mine.yml")
    assert (code, "paragonsr train mine.yml" in said) == (0, True)
    assert load_config("mine.yml").config.scale == 3
    code, said = _run(capsys, "init", photos, "--out", "mine.yml")
    assert (code, "this file already exists" in said) == (2, True)
    assert load_config("mine.yml").config.scale == 3
    assert _run(capsys, "init", photos, "--out", "mine.yml", "--force")[0] == 0
    assert load_config("mine.yml").config.scale == 2


def test_init_in_a_script_needs_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = _run(capsys, "init")
    assert (code, "no folder of photographs is given" in said) == (2, True)
