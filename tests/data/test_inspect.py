"""`paragonsr check` opens every pair that is not packed, and writes nothing."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from paragonsr.data import inspect, listing
from paragonsr.data.inspect import Report, check_dataset
from paragonsr.data.options import PairedOptions, SingleOptions
from paragonsr.data.packed import open_packed
from paragonsr.errors import UserError
from paragonsr.resize import downscale

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


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of pairs in each decoding of a set by `check_dataset`."""
    counts: list[int] = []
    for_each_pair = inspect.for_each_pair

    def counted(work: Any, pairs: Any, progress: Any) -> Any:
        counts.append(len(pairs))
        return for_each_pair(work, pairs, progress)

    monkeypatch.setattr(inspect, "for_each_pair", counted)
    return counts


def _facts(report: Report) -> dict[str, Any]:
    arrays = {"shapes": report.shapes.tolist(), "digests": report.digests.tolist(), "names": list(report.names)}
    return vars(report) | arrays


@pytest.fixture
def flawed(
    images: WriteImages, paired: Paired, single: Single
) -> dict[str, tuple[PairedOptions | SingleOptions, Path]]:
    """Sets that can be packed, with an HR file to change; the LR image of `c` is upside down, `b` has an orientation,
    and `d` is small."""
    content = {f"{name}.png": _blank(40, 40) for name in "abc"} | {"d.png": _blank(20, 60)}
    hr = images("hr", content)
    turned = Image.Exif()
    turned[0x0112] = 3
    Image.fromarray(_blank(40, 40)[::-1, ::-1]).save(hr / "b.png", exif=turned)
    lr = images("lr", {name: downscale(image, 2) for name, image in content.items()})
    images("lr", {"c.png": downscale(content["c.png"], 2)[::-1]})
    alone = images("alone", content)
    return {"pairs": (paired(hr, lr, lq_size=8), hr / "a.png"), "single": (single(alone, lq_size=8), alone / "a.png")}


@pytest.mark.parametrize("kind", ["pairs", "single"])
@pytest.mark.parametrize("phase", ["train", "val"])
def test_a_packed_set_gives_the_same_report_without_being_decoded(
    flawed: dict[str, tuple[PairedOptions | SingleOptions, Path]], decoded: list[int], kind: str, phase: str
) -> None:
    options, _ = flawed[kind]
    large = options.model_copy(update={"lq_size": 16})
    before = [_facts(check_dataset(chosen, 2, phase)) for chosen in (options, large)]
    assert decoded == [4, 4]
    open_packed(options, 2, phase)
    assert [_facts(check_dataset(chosen, 2, phase)) for chosen in (options, large)] == before
    assert decoded == [4, 4]
    said = [str(problem) for problem in before[1]["problems"]]
    assert said[-1] == "d.png: LR 30 x 10 is smaller than lq_size 16"
    if kind == "pairs":
        assert said[0].startswith("c.png: HR and LR do not show the same picture")
        assert "upside down, it matches" in said[0]
        assert before[0]["oriented"] == ["b.png"]
    else:
        assert len(said) == 1


@pytest.mark.parametrize("kind", ["pairs", "single"])
def test_a_changed_or_new_file_is_decoded_again(
    flawed: dict[str, tuple[PairedOptions | SingleOptions, Path]], decoded: list[int], kind: str
) -> None:
    options, file = flawed[kind]
    open_packed(options, 2, "train")
    whole = _facts(check_dataset(options, 2, "train"))
    shutil.copy2(file, kept := file.parent.parent / "kept.png")
    os.truncate(file, 500)
    report = check_dataset(options, 2, "train")
    assert decoded == [4]
    assert report.images == 3
    assert f"{file}: cannot be decoded" in "\n".join(map(str, report.problems))
    shutil.copy2(kept, file)
    assert _facts(check_dataset(options, 2, "train")) == whole
    assert decoded == [4]
    shutil.copy2(file, file.with_name("e.png"))
    report = check_dataset(options, 2, "train")
    problems = [str(problem) for problem in report.problems]
    if kind == "pairs":
        assert (report.images, "e.png: has no LR image" in problems) == (4, True)
    else:
        assert (report.images, problems) == (5, [])
    assert len(decoded) == 2


def test_a_set_with_a_listing_is_neither_decoded_nor_walked_over(
    images: WriteImages, single: Single, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "FEWEST_FILES", 1)
    monkeypatch.setattr(listing, "COARSEST_TIME_NS", -(10**12))
    hr = images("hr", {"a.png": _blank(40, 40), "b.png": _blank(30, 33)})
    before = _facts(check_dataset(single(hr), 2, "train"))
    open_packed(single(hr), 2, "train")
    with monkeypatch.context() as patch:
        patch.setattr(listing.Files, "found", None)
        assert _facts(check_dataset(single(hr), 2, "train")) == before
    assert decoded == [2]
    os.utime(hr / "a.png", ns=(1, 1))
    assert _facts(check_dataset(single(hr), 2, "train")) == before
    assert decoded == [2, 2]
