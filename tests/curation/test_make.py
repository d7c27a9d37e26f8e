"""All steps from one file, and each step from the command line."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from paragonsr.cli.data import data
from paragonsr.config import load_config
from paragonsr.curation.cluster import Crew
from paragonsr.curation.downscale import downscale as make_lower
from paragonsr.data.images import read_image
from paragonsr.data.manifest import read_header
from paragonsr.data.options import PairedOptions, SingleOptions
from paragonsr.data.packed import open_packed
from paragonsr.errors import UserError
from paragonsr.resize import downscale
from paragonsr.training.run import train

ROOT = Path(__file__).parents[2]
CC0 = ROOT / "options/data/cc0_complexity05.yml"
Photos = Callable[..., Path]


def _run(*arguments: object) -> str:
    """Output of `paragonsr data ...`; its exceptions are passed on."""
    result = CliRunner().invoke(data, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def _prepared(folder: Path, write: Photos) -> Path:
    """A curation of ten small photographs, two of them held out; its paths are relative to the folder."""
    write(folder / "photographs", 10, height=150, width=200)
    tree = {
        "photographs": "photographs",
        "tiles": "made/tiles",
        "tile": {"side": 48, "scales": [1, 0.5]},
        "workers": 1,
        "train": {
            "where": "pct(contrast) >= 0.3",
            "hr": "made/train_hr",
            "lr": {2: "made/train_lr_x2", 3: "made/train_lr_x3"},
        },
        "val": {
            "photographs": 2,
            "where": "scale == 1",
            "limit": 5,
            "order": "random:1",
            "hr": "made/val_hr",
            "lr": {2: "made/val_lr_x2"},
        },
    }
    path = folder / "make.yml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


@pytest.fixture
def config(tmp_path: Path, write: Photos, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A curation file in the working directory, with nothing made yet."""
    monkeypatch.chdir(tmp_path)
    return _prepared(tmp_path, write)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, write: Photos) -> Path:
    """Folder of a finished curation; must not be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _run("make", _prepared(folder, write))
    return folder


def _files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        file.relative_to(folder).as_posix(): (file.stat().st_mtime_ns, file.read_bytes())
        for file in sorted(folder.rglob("*.png"))
    }


def _contents(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (_, content) in _files(folder).items()}


def test_from_photographs_to_training_folders(config: Path, tmp_path: Path) -> None:
    said = _run("make", config)
    made = tmp_path / "made"
    assert "10 photographs: 140 tiles cut" in said
    assert "140 tiles: 140 scored now, 0 with an error" in said
    assert "2 photographs are held out" in said
    hr = _files(made / "train_hr")
    header = json.loads((made / "train_hr.jsonl").open().readline())
    assert header["images"] == len(hr) > 50
    assert f"made/train_hr: {len(hr)} tiles" in said
    assert len(_files(made / "val_hr")) == 5
    for scale in (2, 3):
        lower = made / f"train_lr_x{scale}"
        assert _files(lower).keys() == hr.keys()
        name = next(iter(hr))
        np.testing.assert_array_equal(read_image(lower / name), downscale(read_image(made / "train_hr" / name), scale))
    held = {name.split("__")[0] for name in _files(made / "val_hr")}
    assert len(held) <= 2
    assert not held & {name.split("__")[0] for name in hr}
    assert all("__1_" in name for name in _files(made / "val_hr"))
    assert "<svg" in (made / "tiles.html").read_text()

    before = _files(made)
    said = _run("make", config)
    assert "0 tiles cut, 140 already there" in said
    assert "0 scored now" in said
    assert "(0 added, 0 removed)" in said
    assert "0 LR images made, 0 removed" in said
    assert _files(made) == before

    _run("make", config, "train.where=pct(contrast) >= 0.8")
    fewer = _files(made / "train_hr")
    assert 0 < len(fewer) < len(hr)
    assert fewer.keys() == _files(made / "train_lr_x2").keys() == _files(made / "train_lr_x3").keys()


def test_folder_and_manifest_train_alike(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    common = {"store_root": str(tmp_path / "cache"), "lq_size": 8}
    folders = PairedOptions(dataroot_gt="made/train_hr", dataroot_lq="made/train_lr_x2", **common)
    manifest = PairedOptions(dataroot_gt="made/train_hr.jsonl", dataroot_lq="made/train_lr_x2", **common)
    alone = SingleOptions(dataroot_gt="made/train_hr.jsonl", **common)
    stores = [open_packed(options, 2, "train") for options in (folders, manifest, alone)]
    assert len({store.fingerprint for store in stores}) == 1
    assert stores[0].names[:] == stores[1].names[:] == stores[2].names[:]
    fingerprint = read_header(Path("made/train_hr.jsonl"))["fingerprint"]
    assert {store.manifests for store in stores} == {(fingerprint,)}, "also of the folder that was made from it"


def test_a_manifest_trains_weighted_and_resumes(
    finished: Path, tiny_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    changes = ["datasets.train.dataroot_gt=made/train_hr.jsonl", "datasets.train.lq_size=12"]
    changes += ["datasets.train.sample_weight=contrast", "train.total_iter=8"]
    whole = train(load_config(tiny_config(name="whole"), changes).config)
    path = tiny_config(name="parts")
    train(load_config(path, [*changes, "train.total_iter=4"]).config)
    parts = train(load_config(path, changes).config)
    described = [json.loads((run.folder / "run.json").read_text()) for run in (whole, parts)]
    assert described[0]["data"] == described[1]["data"]
    tensors = [load_file(run.folder / "models" / "best.safetensors") for run in (whole, parts)]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    with pytest.raises(UserError, match="sample_weight"):
        train(load_config(path, [*changes, "datasets.train.sample_weight=~"]).config)


def test_killed_anywhere_it_is_finished_by_the_next_call(config: Path, tmp_path: Path, finished: Path) -> None:
    whole = _contents(finished / "made")
    table = _rows(finished / "made/tiles.sqlite")
    code = f"from paragonsr.cli.data import data; data(['make', {str(config)!r}])"
    for seconds in (1.2, 2.0):
        running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
        time.sleep(seconds)
        running.send_signal(signal.SIGKILL)
        running.wait()
    _run("make", config)
    assert _contents(tmp_path / "made") == whole
    assert _rows(tmp_path / "made/tiles.sqlite") == table


def _rows(table: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(table) as db:
        return db.execute("SELECT path, digest, complexity, error FROM tiles ORDER BY path").fetchall()


def test_a_curation_file_is_checked_to_the_last_key(config: Path) -> None:
    text = config.read_text()
    config.write_text(text.replace("  side: 48", "  sied: 48").replace("photographs: 2", "photographs: two"))
    with pytest.raises(UserError) as caught:
        _run("make", config)
    line = 1 + text.splitlines().index("  side: 48")
    assert f"{config}:{line}: tile.sied: unknown key; did you mean 'side'?" in str(caught.value)
    assert "val.photographs: should be an integer, not 'two'" in str(caught.value)
    config.write_text(text.replace("made/train_lr_x2", "made/train_hr"))
    with pytest.raises(UserError, match="two purposes"):
        _run("make", config)
    config.write_text(text.replace("made/train_lr_x2", "made/tiles/lr"))
    with pytest.raises(UserError, match="made/tiles/lr is inside made/tiles"):
        _run("make", config)
    config.write_text(text.replace("pct(contrast)", "pct(contarst)"))
    with pytest.raises(UserError, match="unknown column 'contarst'"):
        _run("make", config)


def test_the_shipped_file_makes_the_folders_that_training_reads() -> None:
    made = yaml.safe_load(CC0.read_text())
    trained = sorted((ROOT / "options/train/ParagonSR2/dataset").glob("*complexity05_ULTRA_FIDELITY.yml"))
    assert len(trained) == 2
    for path in trained:
        sets = load_config(path).config.datasets
        assert sets["train"].hr_roots == [made["train"]["hr"]]
        assert sets["train"].lq_roots == [made["train"]["lr"][2]]
        assert sets["val"].hr_roots == [made["val"]["hr"]]
        assert sets["val"].lq_roots == [made["val"]["lr"][2]]
    assert made["train"]["where"] == "complexity >= 0.5"


def test_the_shipped_file_is_sound(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos(3, name="datasets/cc0/photographs", height=600, width=520)
    changes = ["train.where=complexity >= 0", "val.photographs=1", "workers=1"]
    _run("make", CC0, *changes)
    assert len(_files(tmp_path / "datasets/cc0/cc0_c5_lr_x2")) == 2
    assert len(_files(tmp_path / "datasets/cc0/val_lr_x2_bicubic_aa")) == 1


def test_step_by_step(photos: Photos, tmp_path: Path) -> None:
    source, tiles = photos(4), tmp_path / "tiles"
    assert "48 tiles cut" in _run("tile", source, tiles, "--side", 32, "--scales", "1", "--workers", 1)
    said = _run("score", tiles, "--workers", 1)
    assert f"48 scored now, 0 with an error; table {tmp_path / 'tiles.sqlite'}" in said
    out, held = tmp_path / "s.jsonl", tmp_path / "held.jsonl"
    said = _run("select", "pct(contrast) >= 0.5", tiles, "--out", out, "--materialise", tmp_path / "hr")
    assert f"24 of 48 tiles in {out}" in said
    assert len(_files(tmp_path / "hr")) == 24
    _run("select", "contrast >= 0", tiles, "--out", out, "--hold-out", 1, "--val-out", held)
    assert json.loads(held.open().readline())["images"] == 12
    assert json.loads(out.open().readline())["images"] == 36
    assert "12 LR images made" in _run("downscale", held, tmp_path / "lr", "--scale", 4, "--workers", 1)
    assert {read_image(file).shape for file in (tmp_path / "lr").glob("*.png")} == {(8, 8, 3)}
    with pytest.raises(UserError, match="read as further input"):
        _run("select", "contrast >= 0", tiles, "--out", out, "--materialise", tiles / "hr")
    _run("report", tiles, "--where", "contrast >= 20", "--manifest", out)
    assert "s.jsonl" in (tmp_path / "tiles.html").read_text()
    with pytest.raises(UserError, match="the number of held-out photographs is missing"):
        _run("select", "contrast >= 0", tiles, "--out", out, "--val-out", held)
    with pytest.raises(UserError, match="folder does not exist"):
        _run("score", tmp_path / "nowhere")
    assert not (tmp_path / "nowhere.sqlite").exists(), "nothing is made for a folder that is not there"
    with pytest.raises(UserError, match="not a list of numbers"):
        _run("tile", source, tmp_path / "t", "--scales", "1;2")
    with pytest.raises(UserError, match=r"0\.95, 0\.9"):
        _run("tile", source, tmp_path / "t", "--scales", "0.33")


def test_a_table_of_another_folder(photos: Photos, tmp_path: Path) -> None:
    one, other, table = photos(3), photos(1, name="other", height=64), tmp_path / "photographs.sqlite"
    (other / "photo_00.png").rename(other / "elsewhere.png")
    _run("score", one, "--workers", 1)
    before = _rows(table)
    assert len(before) == 3
    out = tmp_path / "s.jsonl"
    for call in (
        ("score", other, "--out", table, "--workers", 1),
        ("select", "contrast >= 0", other, "--scores", table, "--out", out),
        ("report", other, "--scores", table),
    ):
        with pytest.raises(UserError, match="table of another folder"):
            _run(*call)
    with pytest.raises(UserError, match="folder does not exist"):
        _run("select", "contrast >= 0", tmp_path / "nowhere", "--scores", table, "--out", out)
    assert _rows(table) == before, "no row is removed"
    assert not out.exists()
    assert not (tmp_path / "other.html").exists()
    (one / "photo_00.png").unlink()
    _run("select", "contrast >= 0", one, "--out", out)


def test_files_where_folders_should_be(photos: Photos, tmp_path: Path) -> None:
    source, file = photos(1), tmp_path / "file"
    file.write_text("no folder")
    _run("score", source, "--workers", 1)
    before = sorted(tmp_path.rglob("*"))
    for call in (
        ("tile", source, file, "--side", 32),
        ("tile", source, file / "under", "--side", 32),
        ("score", file),
        ("score", source, "--out", file / "scores.sqlite"),
        ("select", "contrast >= 0", source, "--out", file / "s.jsonl"),
        ("report", source, "--out", file / "page.html"),
        ("report", source, "--out", source),
        ("downscale", source, file),
        ("score", source, "--out", tmp_path / "new.sqlite", "--also", "nonsense", "--workers", 1),
    ):
        with pytest.raises(UserError):
            _run(*call)
    assert sorted(tmp_path.rglob("*")) == before, "nothing half-written"
    assert file.read_text() == "no folder"
    (source / "tiling.json").write_text("{")
    with pytest.raises(UserError, match="not a record of tiles"):
        _run("tile", photos(1, name="more"), source, "--side", 32)


def test_what_cannot_be_selected_is_said_before_hours_of_work(config: Path, tmp_path: Path) -> None:
    for change, said in (
        ("train.where=complexity >> 0.5", "train: 'complexity >> 0.5'"),
        ("val.where=complexty >= 0.5", "Did you mean 'complexity'"),
        ("val.order=beauty", "val: order: tiles cannot be ordered by 'beauty'"),
        ("score.also={nonsense: ~}", "unknown score 'nonsense'"),
    ):
        with pytest.raises(UserError) as caught:
            _run("make", config, change)
        assert said in str(caught.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="processes of a terminal are POSIX's")
def test_ctrl_c_ends_with_one_line(photos: Photos, tmp_path: Path) -> None:
    source = photos(12, height=300, width=300)
    code = f"from paragonsr.cli import main; main(['data', 'tile', {str(source)!r}, {str(tmp_path / 'tiles')!r}, "
    code += "'--side', '24', '--workers', '2'])"
    running = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not any((tmp_path / "tiles").glob("*.png")):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)  # like a terminal: to all its processes
    said = running.communicate(timeout=60)
    assert (running.returncode, *said) == (130, "", "interrupted; run the same command to continue\n")
    assert not list((tmp_path / "tiles").glob("*.tmp"))
    assert 0 < len(list((tmp_path / "tiles").glob("*.png"))) < 12 * 12 * 12


def test_lr_folders_of_others_are_not_touched(photos: Photos, tmp_path: Path) -> None:
    source, target = photos(2), photos(1, name="lr")
    with pytest.raises(UserError, match="not made by this command"):
        _run("downscale", source, target, "--workers", 1)
    _run("downscale", source, tmp_path / "x2", "--workers", 1)
    with pytest.raises(UserError, match="scale 2"):
        _run("downscale", source, tmp_path / "x2", "--scale", 3, "--workers", 1)
    (source / "broken.png").write_bytes(b"x")
    (source / "photo_01.png").unlink()
    with pytest.raises(UserError, match=r"broken\.png"):
        _run("downscale", source, tmp_path / "x2", "--workers", 1)
    assert _files(tmp_path / "x2").keys() == {"photo_00.png"}, "what lost its HR image is removed"


def test_an_lr_image_is_of_one_hr_image_as_it_is_now(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    source, target = photos(2), tmp_path / "x2"

    def lower(target: Path) -> tuple[int, int]:
        return make_lower(source, target, 2, crew, lambda done, total: None)

    with pytest.raises(UserError, match="read as further input"):
        lower(source / "x2")
    assert lower(target) == (2, 0)
    Image.fromarray(255 - read_image(source / "photo_00.png")).save(source / "photo_00.png")
    os.utime(source / "photo_00.png", (10**9, 10**9))  # a restored backup is older than the file made from the other
    assert lower(target) == (1, 0)
    hr = read_image(source / "photo_00.png")
    np.testing.assert_array_equal(read_image(target / "photo_00.png"), downscale(hr, 2))
    Image.fromarray(hr).save(source / "photo_00.jpg")
    said = r"photo_00\.png: its LR image would have the same name as that of photo_00\.jpg"
    with pytest.raises(UserError, match=said):
        lower(target)
