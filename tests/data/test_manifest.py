"""A manifest replaces a folder, and its scores weight the samples."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from paragonsr.data.manifest import read_header, read_images, read_weights, write_manifest
from paragonsr.data.options import PairedOptions, SingleOptions
from paragonsr.data.packed import open_packed
from paragonsr.data.pairing import find_pairs
from paragonsr.data.sampling import Sampler
from paragonsr.errors import UserError

Images = dict[str, NDArray[np.uint8]]
WriteImages = Callable[[str, Images], Path]


def _noise(count: int) -> Images:
    random = np.random.default_rng(0)
    return {f"deep/{n}.png": random.integers(0, 256, (24, 24, 3), np.uint8) for n in range(count)}


def _manifest(folder: Path, scores: dict[int, float], name: str = "chosen.jsonl") -> Path:
    out = folder.parent / name
    lines = [
        {"path": f"deep/{n}.png", "bytes": (folder / f"deep/{n}.png").stat().st_size, "complexity": score}
        for n, score in sorted(scores.items())
    ]
    write_manifest(out, folder, lines, {"where": "by hand"})
    return out


def _weighted(scores: list[float], seed: int, images: WriteImages) -> Sampler:
    folder = images("hr", _noise(len(scores)))
    options = SingleOptions(
        dataroot_gt=str(_manifest(folder, dict(enumerate(scores)))),
        sample_weight="complexity",
        lq_size=4,
        store_root=str(folder.parent / "cache"),
    )
    return Sampler(open_packed(options, 2, "train"), options, 2, seed)


def test_only_the_chosen_images_in_the_order_of_the_folder(images: WriteImages) -> None:
    folder = images("hr", _noise(6))
    pairs = find_pairs(SingleOptions(dataroot_gt=str(_manifest(folder, {4: 0.1, 1: 0.5, 3: 0.9}))), "train")
    assert [pair.name for pair in pairs] == ["deep/1.png", "deep/3.png", "deep/4.png"]
    assert [pair.hr.resolve() for pair in pairs] == [(folder / pair.name).resolve() for pair in pairs]


def test_lr_images_of_others_are_passed_over(images: WriteImages) -> None:
    hr, lr = images("hr", _noise(6)), images("lr", _noise(5))
    manifest = str(_manifest(hr, {0: 1, 2: 1}))
    pairs = find_pairs(PairedOptions(dataroot_gt=manifest, dataroot_lq=str(lr)), "train")
    assert [pair.lq for pair in pairs] == [lr / "deep/0.png", lr / "deep/2.png"]
    with pytest.raises(UserError, match="1 HR image without LR image"):
        find_pairs(PairedOptions(dataroot_gt=str(_manifest(hr, {0: 1, 5: 1})), dataroot_lq=str(lr)), "train")


def test_a_manifest_and_a_folder_are_one_set(images: WriteImages) -> None:
    hr, more = images("hr", _noise(4)), images("more", _noise(2))
    manifest = str(_manifest(hr, {1: 0.5}))
    pairs = find_pairs(SingleOptions(dataroot_gt=[manifest, str(more)]), "train")
    assert [pair.name for pair in pairs] == [f"{manifest}/deep/1.png", f"{more}/deep/0.png", f"{more}/deep/1.png"]


def test_images_that_are_not_what_was_selected(images: WriteImages) -> None:
    folder = images("hr", _noise(4))
    manifest = _manifest(folder, {0: 1, 1: 1, 2: 1})
    (folder / "deep/1.png").unlink()
    (folder / "deep/2.png").write_bytes(b"other")
    with pytest.raises(UserError) as caught:
        find_pairs(SingleOptions(dataroot_gt=str(manifest)), "train")
    assert "deep/1.png is missing, deep/2.png has changed" in str(caught.value)
    with pytest.raises(UserError, match="manifest does not exist"):
        find_pairs(SingleOptions(dataroot_gt=str(folder / "none.jsonl")), "train")


def test_manifest_and_images_move_together(images: WriteImages, tmp_path: Path) -> None:
    folder = images("place/hr", _noise(2))
    manifest = _manifest(folder, {0: 1})
    assert read_header(manifest)["root"] == "hr"
    (tmp_path / "place").rename(tmp_path / "elsewhere")
    (pair,) = find_pairs(SingleOptions(dataroot_gt=str(tmp_path / "elsewhere/chosen.jsonl")), "train")
    assert pair.hr.is_file()


@pytest.mark.parametrize("seed", [0, 7, -3])
def test_an_image_is_shown_as_often_as_its_weight_says(images: WriteImages, seed: int) -> None:
    scores = [0.5, 0.0, 1.0, 0.25, 3.0, 0.3]
    sampler = _weighted(scores, seed, images)
    expected = np.array(scores) / sum(scores) * len(scores)
    total = np.zeros(len(scores))
    for epoch in range(200):
        shown = np.bincount(sampler.batch(epoch * 6, 6).images, minlength=6)
        assert (np.abs(shown - expected) < 1).all(), "rounded up or down, in every epoch"
        total += shown
    np.testing.assert_allclose(total / 200, expected, atol=0.12)
    assert total[1] == 0


def test_equal_weights_are_no_weights(images: WriteImages) -> None:
    for weight in (0.1, 1.0, 0.7):
        weighted = _weighted([weight] * 7, 5, images)
        plain = Sampler(weighted.store, SingleOptions(dataroot_gt="unused", lq_size=4), 2, 5)
        assert weighted.batch(0, 70).images == plain.batch(0, 70).images


@given(st.integers(0, 2**40), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=60)
def test_a_weighted_sample_is_a_function_of_its_number(
    tmp_path_factory: pytest.TempPathFactory, first: int, a: int, b: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "weighted"

    def images(name: str, content: Images) -> Path:
        from PIL import Image

        for path, image in content.items():
            (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / name / path).exists():
                Image.fromarray(image).save(folder / name / path)
        return folder / name

    one, other = (_weighted([0.2, 0.9, 0.4, 0.5], 3, images) for _ in range(2))
    whole, parts = one.batch(first, a + b), (other.batch(first, a), other.batch(first + a, b))
    assert whole.images == parts[0].images + parts[1].images
    np.testing.assert_array_equal(whole.lq, np.concatenate([part.lq for part in parts]))


def test_the_fingerprint_knows_manifest_and_weights(images: WriteImages) -> None:
    one = _weighted([0.5, 1.0], 0, images).store
    assert one.manifests == (read_header(images("hr", {}).parent / "chosen.jsonl")["fingerprint"],)
    other = _weighted([0.5, 0.9], 0, images).store
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint == _weighted([0.5, 1.0], 0, images).store.fingerprint
    options = SingleOptions(dataroot_gt=str(images("hr", {})), store_root=str(images("cache", {})))
    plain = open_packed(options, 2, "train")
    assert (plain.manifests, plain.weights) == ((), None)
    assert plain.fingerprint not in (one.fingerprint, other.fingerprint)


def test_weights_that_are_none(images: WriteImages) -> None:
    with pytest.raises(UserError, match="is 0 for every image"):
        _weighted([0.0, 0.0], 0, images)
    with pytest.raises(UserError, match="not a weight"):
        _weighted([0.5, -0.5], 0, images)
    folder = images("hr", _noise(2))
    manifest, cache = str(_manifest(folder, {0: 1.0})), str(folder.parent / "cache")
    with pytest.raises(UserError) as caught:
        open_packed(SingleOptions(dataroot_gt=manifest, sample_weight="complexty", store_root=cache), 2, "train")
    assert "has no 'complexty'" in str(caught.value)
    assert "complexity" in caught.value.fix
    with pytest.raises(ValidationError, match="needs manifests"):
        SingleOptions(dataroot_gt=str(folder), sample_weight="complexity")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ({"path": "../outside.png", "bytes": 3}, "leads out of the folder"),
        ({"path": "deep/../../outside.png", "bytes": 3}, "leads out of the folder"),
        ({"path": "/etc/passwd", "bytes": 3}, "leads out of the folder"),
        ({"path": "C:/x.png", "bytes": 3}, "leads out of the folder"),
        ({"path": "a\0b.png", "bytes": 3}, "leads out of the folder"),
        ({"bytes": 3}, "has no path"),
        ({"path": 7, "bytes": 3}, "has no path"),
        ({"path": "a.png"}, "has no size in bytes"),
    ],
)
def test_a_line_that_is_no_image_of_the_folder(tmp_path: Path, line: dict[str, object], what: str) -> None:
    (tmp_path / "hr").mkdir()
    write_manifest(tmp_path / "m.jsonl", tmp_path / "hr", [line], {})
    with pytest.raises(UserError, match=what):
        list(read_images(tmp_path / "m.jsonl"))


@pytest.mark.parametrize(
    "header",
    ['{"format": 1}', '{"format": 1, "root": 3, "images": 1, "fingerprint": ""}', "[1]", "[" * 100_000, "", "\0", "5"],
)
def test_a_first_line_that_is_no_header(tmp_path: Path, header: str) -> None:
    (tmp_path / "m.jsonl").write_text(header + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="is not a manifest"):
        read_header(tmp_path / "m.jsonl")


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -1.0])
def test_scores_that_are_not_weights(images: WriteImages, score: float) -> None:
    folder = images("hr", _noise(2))
    with pytest.raises(UserError, match="is not a weight"):
        read_weights([str(_manifest(folder, {0: score, 1: 1.0}))], "complexity")
