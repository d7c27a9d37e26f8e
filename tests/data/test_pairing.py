"""Matching of files to a set, and messages about files that do not match."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from paragonsr.data.options import PairedOptions, SingleOptions
from paragonsr.data.pairing import Pair, find_pairs
from paragonsr.errors import UserError

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Makes a folder of empty files: tree("hr", "a.png", "deep/b.jpg")."""

    def make(folder: str, *names: str) -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        for name in names:
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).touch()
        return tmp_path / folder

    return make


def _single(*folders: Path) -> SingleOptions:
    return SingleOptions(dataroot_gt=[str(folder) for folder in folders])


def _paired(hr: Path, lr: Path, template: str = "{}") -> PairedOptions:
    return PairedOptions(dataroot_gt=str(hr), dataroot_lq=str(lr), filename_tmpl=template)


def _refused(options: SingleOptions | PairedOptions) -> str:
    with pytest.raises(UserError) as caught:
        find_pairs(options, "train")
    return str(caught.value)


def test_hr_images_alone_in_order_of_name(tree: Tree) -> None:
    hr = tree("hr", "b.png", "a.JPG", "deep/c.webp", "notes.txt", ".hidden.png", ".folder/d.png", "e.tiff", "f.bmp")
    pairs = find_pairs(_single(hr), "train")
    assert [pair.name for pair in pairs] == ["a.JPG", "b.png", "deep/c.webp", "e.tiff", "f.bmp"]
    assert pairs[2] == Pair("deep/c.webp", hr / "deep/c.webp", None)


def test_pairs_match_by_name_whatever_the_ending(tree: Tree) -> None:
    hr, lr = tree("hr", "a.png", "b.v2.png", "deep/a.png"), tree("lr", "a.jpg", "b.v2.webp", "deep/a.png")
    assert find_pairs(_paired(hr, lr), "train") == [
        Pair("a.png", hr / "a.png", lr / "a.jpg"),
        Pair("b.v2.png", hr / "b.v2.png", lr / "b.v2.webp"),
        Pair("deep/a.png", hr / "deep/a.png", lr / "deep/a.png"),
    ]


def test_template_of_lr_names(tree: Tree) -> None:
    hr, lr = tree("hr", "0001.png", "deep/0{2}.png"), tree("lr", "LR_0001x2.png", "deep/LR_0{2}x2.png")
    pairs = find_pairs(_paired(hr, lr, "LR_{}x2"), "train")
    assert [pair.lq for pair in pairs] == [lr / "LR_0001x2.png", lr / "deep/LR_0{2}x2.png"]


@pytest.mark.parametrize("template", ["", "x2", "{}{}", "{0}", "lr/{}"])
def test_a_template_without_one_place_for_the_name_is_refused(tree: Tree, template: str) -> None:
    with pytest.raises(ValidationError, match="filename_tmpl"):
        _paired(tree("hr"), tree("lr"), template)


def test_several_roots_follow_each_other(tree: Tree) -> None:
    second, first = tree("second", "a.png"), tree("first", "b.png", "a.png")
    names = [pair.name for pair in find_pairs(_single(second, first), "train")]
    assert names == [f"{second}/a.png", f"{first}/a.png", f"{first}/b.png"]


def test_each_hr_root_has_its_own_lr_root(tree: Tree) -> None:
    hr1, hr2 = tree("hr1", "a.png"), tree("hr2", "a.png")
    lr1, lr2 = tree("lr1", "a.png"), tree("lr2", "a.png")
    options = PairedOptions(dataroot_gt=[str(hr1), str(hr2)], dataroot_lq=[str(lr1), str(lr2)])
    assert [pair.lq for pair in find_pairs(options, "train")] == [lr1 / "a.png", lr2 / "a.png"]
    with pytest.raises(ValidationError, match="dataroot_gt names 2 folders and dataroot_lq 1"):
        PairedOptions(dataroot_gt=[str(hr1), str(hr2)], dataroot_lq=str(lr1))


def test_everything_that_has_no_partner_stands_in_one_message(tree: Tree) -> None:
    hr = tree("hr", "a.png", "b.png", "b.jpg", "only_hr.png")
    said = _refused(_paired(hr, tree("lr", "a.png", "b.png", "only_lr.png")))
    assert "datasets.train" in said
    assert f"1 name shared by several files: {hr}/b.jpg / b.png" in said
    assert "1 HR image without LR image: only_hr.png" in said
    assert "1 LR image without HR image" in said
    assert "only_lr.png" in said
    assert "filename_tmpl" in said


def test_a_long_list_of_names_is_counted(tree: Tree) -> None:
    hr = tree("hr", *(f"{i:03d}.png" for i in range(200)))
    said = _refused(_paired(hr, tree("lr", "000.png")))
    assert "199 HR images without LR image: 001.png, 002.png, 003.png, 004.png, 005.png and 194 more" in said


def test_missing_and_empty_folders(tree: Tree, tmp_path: Path) -> None:
    said = _refused(_single(tmp_path / "nowhere"))
    assert f"folder {tmp_path / 'nowhere'} does not exist" in said
    assert "datasets.train.dataroot_gt=/path/to/images" in said
    said = _refused(_paired(tree("hr", "a.png"), tmp_path / "nowhere"))
    assert "datasets.train.dataroot_lq: folder" in said
    assert "type: singleimagedataset" in said
    said = _refused(_single(tree("texts", "a.txt")))
    assert "contains no images (.avif .bmp .jfif .jpe .jpeg .jpg .png .tif .tiff .webp)" in said
    assert "is a file, not a folder" in _refused(_single(tree("hr") / "a.png"))


def test_links_are_followed_and_circles_end(tree: Tree) -> None:
    hr, elsewhere = tree("hr", "a.png"), tree("elsewhere", "b.png")
    (hr / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(hr)
    assert [pair.name for pair in find_pairs(_single(hr), "train")] == ["a.png", "linked/b.png"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tree: Tree) -> None:
    hr = tree("hr", "a.png", "deep/b.png")
    (hr / "deep").chmod(0)
    try:
        assert "cannot be read" in _refused(_single(hr))
    finally:
        (hr / "deep").chmod(0o700)


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({"dataroot_gt": 5}, "dataroot_gt"),
        ({"dataroot_gt": []}, "dataroot_gt"),
        ({"lq_size": "64"}, "lq_size"),
        ({"lq_size": 0}, "lq_size"),
        ({"lq_size": np.float64(8)}, "lq_size"),
        ({"use_rot": "yes"}, "use_rot"),
        ({"num_worker_per_gpu": -1}, "num_worker_per_gpu"),
        ({"lq_sise": 64}, "lq_sise"),
        ({"lq_size": 32, "gt_size": 64}, "have the same meaning"),
    ],
)
def test_wrong_keys_and_types_are_refused(keys: dict[str, object], where: str) -> None:
    with pytest.raises(ValidationError, match=where):
        SingleOptions(**({"dataroot_gt": "hr"} | keys))


def test_patch_size_in_lr_pixels() -> None:
    assert SingleOptions(dataroot_gt="hr", lq_size=48).lq_patch(3) == 48
    assert SingleOptions(dataroot_gt="hr", gt_size=96).lq_patch(3) == 32
    assert SingleOptions(dataroot_gt="hr").lq_patch(3) is None
    with pytest.raises(ValueError, match="gt_size 100 is not a multiple of the scale 3; the nearest below is 99"):
        SingleOptions(dataroot_gt="hr", gt_size=100).lq_patch(3)
