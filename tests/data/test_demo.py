"""The demo's images: complete, licensed, and without a trace of the held-out photographs in the training set."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from paragonsr.data import demo
from paragonsr.data.demo import dead_leaves, make_demo_images
from paragonsr.data.images import image_size, read_image
from paragonsr.errors import UserError

skimage = importlib.util.find_spec("skimage")
if skimage is None or skimage.submodule_search_locations is None:
    pytest.skip("needs scikit-image (pip install 'paragonsr[demo]')", allow_module_level=True)
PHOTOGRAPHS = Path(skimage.submodule_search_locations[0], "data")
CONFIGURATION = Path(__file__).parents[2] / "src/paragonsr/recipes/demo.yml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "images"
    make_demo_images(folder)
    return folder


def _times(folder: Path) -> dict[str, int]:
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in folder.rglob("*.*")}


def test_the_held_out_photographs_are_unchanged(folder: Path) -> None:
    assert sorted(file.name for file in (folder / "val").iterdir()) == ["astronaut.png", "coffee.png"]
    for file in (folder / "val").iterdir():
        np.testing.assert_array_equal(read_image(file), read_image(PHOTOGRAPHS / file.name))


def test_training_images_are_the_listed_photographs_and_leaves(folder: Path) -> None:
    assert not set(demo.TRAINING) & set(demo.VALIDATION)
    sizes = {file.stem: image_size(file) for file in (folder / "train").iterdir()}
    assert len(sizes) == sum(map(len, demo.TRAINING.values())) + demo.TILES
    assert sizes["chelsea_100"] == (300, 451)
    assert sizes["chelsea_50"] == (150, 226)
    assert sizes["leaves_00"] == (demo.TILE_SIDE, demo.TILE_SIDE)
    np.testing.assert_array_equal(read_image(folder / "train/camera_100.png"), read_image(PHOTOGRAPHS / "camera.png"))
    np.testing.assert_array_equal(read_image(folder / "train/leaves_03.png"), dead_leaves(demo.TILE_SIDE, 3))


def test_every_photograph_has_its_licence_stated() -> None:
    table = [line for line in (demo.__doc__ or "").splitlines() if line.startswith("| ")]
    for name in (*demo.VALIDATION, *demo.TRAINING):
        lines = [line for line in table if name in line]
        assert len(lines) == 1, name
        assert "CC0" in lines[0] or "public domain" in lines[0]
        assert ("validation" in lines[0]) == (name in demo.VALIDATION)


def test_the_configuration_reads_what_is_written(folder: Path) -> None:
    datasets = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))["datasets"]
    assert (datasets["train"]["dataroot_gt"], datasets["val"]["dataroot_gt"]) == (
        "datasets/demo/train",
        "datasets/demo/val",
    )
    smallest = min(min(image_size(file)) for file in (folder / "train").iterdir())
    assert smallest >= 2 * datasets["train"]["lq_size"]


def test_a_second_call_touches_nothing_and_a_lost_image_comes_back(folder: Path) -> None:
    before = _times(folder)
    make_demo_images(folder)
    assert _times(folder) == before
    (folder / "train/brick_50.png").unlink()
    make_demo_images(folder)
    after = _times(folder)
    assert {name for name in after if after[name] != before[name]} == {"train/brick_50.png"}
    assert set(after) == set(before)


def test_leaves_follow_their_seed() -> None:
    one, again, other = dead_leaves(64, 1), dead_leaves(64, 1), dead_leaves(64, 2)
    assert (one.shape, one.dtype) == ((64, 64, 3), np.uint8)
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.9


def test_radii_follow_the_inverse_cube() -> None:
    random = np.random.default_rng(0)
    radii = np.array([demo._leaf_radius(random, 3, 80) for _ in range(20000)])
    assert radii.min() >= 3
    assert radii.max() <= 80
    for radius in (4, 6, 12, 30):
        share = (3**-2 - radius**-2) / (3**-2 - 80**-2)
        assert abs((radii <= radius).mean() - share) < 4 * (share * (1 - share) / 20000) ** 0.5


def test_leaves_cover_the_whole_image_with_many_colours() -> None:
    image = dead_leaves(128, 5)
    # An uncovered spot would be black; leaves are that dark by chance only.
    assert (image.max(axis=2) == 0).mean() < 0.1
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 3000
    assert 60 < image.mean() < 190


def test_without_scikit_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="which is not installed") as caught:
        make_demo_images(tmp_path / "images")
    assert "paragonsr[demo]" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        make_demo_images(tmp_path / "images")
