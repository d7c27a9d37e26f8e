"""`paragonsr check` opens every pair and writes nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from paragonsr.data.inspect import check_dataset
from paragonsr.data.options import PairedOptions, SingleOptions
from paragonsr.data.packed import open_packed
from paragonsr.errors import UserError

WriteImages = Callable[[str, dict[str, np.ndarray]], Path]
Single = Callable[..., SingleOptions]
Paired = Callable[..., PairedOptions]


def _blank(height: int, width: int) -> np.ndarray:
    """Shading that is the same at every size: HR and LR of one picture."""
    y, x = np.mgrid[0:height, 0:width]
    plane = 255 * (y + 0.5) / height * 0.6 + 255 * (x + 0.5) / width * 0.4
    noise = np.random.default_rng(0).normal(0, 4, (height, width))  # or the PNG would be too short to be cut
    return np.repeat(np.clip(plane + noise, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def test_a_sound_set(images: WriteImages, single: Single, cache: Path) -> None:
    options = single(images("hr", {"a.png": _blank(21, 40), "b.png": _blank(30, 33)}))
    seen: list[tuple[int, int]] = []
    report = check_dataset(options, 2, "val", lambda done, total: seen.append((done, total)))
    assert (report.phase, report.images, report.problems) == ("val", 2, [])
    assert (report.smallest, report.largest) == ((20, 32), (30, 40))
    assert report.hr_pixels == 20 * 40 + 30 * 32
    assert seen == [(1, 2), (2, 2)]
    assert str(report) == "val: 2 images, 32 x 20 to 40 x 30 HR pixels, 0.0 million in total, packed 0 MB"
    assert not cache.exists()
    open_packed(options, 2, "val")
    assert sum(file.stat().st_size for file in cache.rglob("*.bin")) == report.packed_bytes


def test_everything_that_is_wrong_is_reported_and_the_rest_counted(images: WriteImages, paired: Paired) -> None:
    hr = images("hr", {f"{name}.png": _blank(40, 40) for name in ("cut", "fine", "lonely", "odd", "twice")})
    images("hr", {"twice.bmp": _blank(40, 40), "small.png": _blank(20, 60)})
    lr = images("lr", {f"{name}.png": _blank(20, 20) for name in ("cut", "fine", "stray", "twice")})
    images("lr", {"odd.png": _blank(20, 21), "small.png": _blank(10, 30)})
    os.truncate(hr / "cut.png", 500)
    report = check_dataset(paired(hr, lr, lq_size=16), 2, "train")
    said = "\n".join(str(problem) for problem in report.problems)
    assert len(report.problems) == 6
    assert f"{hr / 'cut.png'}: cannot be decoded" in said
    assert "lonely.png: has no LR image" in said
    assert f"{lr / 'stray.png'}: has no HR image" in said
    assert "twice.bmp / twice.png: shared by several files" in said
    assert f"{lr / 'odd.png'}: is 21 x 20, but HR 40 x 40 at scale 2 needs LR 20 x 20" in said
    assert "small.png: LR 30 x 10 is smaller than lq_size 16" in said
    assert "fine.png" not in said
    assert report.images == 3, "fine, small and one of the two called twice can be decoded"


def test_a_set_of_which_nothing_is_whole(images: WriteImages, single: Single) -> None:
    hr = images("hr", {"a.png": _blank(40, 40)})
    os.truncate(hr / "a.png", 0)
    report = check_dataset(single(hr), 2, "train")
    assert (report.images, report.smallest, report.largest, report.packed_bytes) == (0, (0, 0), (0, 0), 0)
    assert len(report.problems) == 1


def test_gt_size_is_reported_beside_the_images(images: WriteImages, single: Single) -> None:
    report = check_dataset(single(images("hr", {"a.png": _blank(40, 40)}), gt_size=31), 2, "train")
    assert [str(problem) for problem in report.problems] == [
        "datasets.train.gt_size: gt_size 31 is not a multiple of the scale 2; the nearest below is 30"
    ]


def test_a_missing_folder_is_an_error(single: Single, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        check_dataset(single(tmp_path / "nowhere"), 2, "train")
