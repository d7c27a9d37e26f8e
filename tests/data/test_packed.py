"""The packed store equals the files, is reused while they do not change, and is never wrong."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paragonsr.data import packing
from paragonsr.data.arrays import read_arrays, write_arrays
from paragonsr.data.index import ARRAYS
from paragonsr.data.options import PairedOptions, SingleOptions
from paragonsr.data.packed import PackedDataset, open_packed
from paragonsr.errors import UserError
from paragonsr.resize import downscale

Images = dict[str, np.ndarray]
WriteImages = Callable[[str, Images], Path]
Single = Callable[..., SingleOptions]
Paired = Callable[..., PairedOptions]


def noise(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def _hr_images(count: int = 4) -> Images:
    return {f"{i}.png": noise(i, 12 + i, 16 + 3 * i) for i in range(count)}


def _packings(options: SingleOptions | PairedOptions, scale: int = 2) -> tuple[PackedDataset, int]:
    """Open a store, and count the images packed for it."""
    done: list[int] = []
    store = open_packed(options, scale, "train", lambda i, total: done.append(total))
    assert done in ([], [len(store)] * len(store))
    return store, len(done)


def _refused(options: SingleOptions | PairedOptions, scale: int = 2) -> str:
    with pytest.raises(UserError) as caught:
        open_packed(options, scale, "train")
    return str(caught.value)


def _folders(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()] if cache.is_dir() else []


@pytest.mark.parametrize("scale", [2, 3])
def test_hr_images_alone(images: WriteImages, single: Single, scale: int) -> None:
    content = _hr_images()
    store = open_packed(single(images("hr", content)), scale, "train")
    assert tuple(store.names) == tuple(content)
    assert len(store) == 4
    for i, image in enumerate(content.values()):
        height, width = (side // scale * scale for side in image.shape[:2])
        assert tuple(store.shapes[i]) == (height, width)
        assert tuple(store.lr_shapes[i]) == (height // scale, width // scale)
        np.testing.assert_array_equal(store.hr(i), image[:height, :width])
        np.testing.assert_array_equal(store.lq(i), downscale(image[:height, :width], scale))


def test_pairs(images: WriteImages, paired: Paired) -> None:
    hr, lr = _hr_images(), {f"{i}.png": noise(10 + i, (12 + i) // 2, (16 + 3 * i) // 2) for i in range(4)}
    store = open_packed(paired(images("hr", hr), images("lr", lr)), 2, "train")
    for i, image in enumerate(lr.values()):
        np.testing.assert_array_equal(store.lq(i), image)


def test_images_are_views_into_the_file_and_read_only(images: WriteImages, single: Single) -> None:
    store = open_packed(single(images("hr", _hr_images())), 2, "train")
    assert np.shares_memory(store.hr(0), store.hr(0))
    with pytest.raises(ValueError, match="read-only"):
        store.lq(0)[0, 0, 0] = 1


def test_a_set_is_packed_once(images: WriteImages, single: Single, cache: Path) -> None:
    options = single(images("hr", _hr_images()))
    first, packed = _packings(options)
    again, repacked = _packings(options)
    assert (packed, repacked) == (4, 0)
    assert first.fingerprint == again.fingerprint
    assert len(_folders(cache)) == 1
    assert _packings(options, scale=4)[1] == 4, "another scale is another store"


def test_the_fingerprint_is_that_of_the_pixels(images: WriteImages, single: Single) -> None:
    content = _hr_images()
    store = open_packed(single(images("hr", content)), 2, "train")
    moved = open_packed(
        single(images("moved", {f"other_{name}": image for name, image in content.items()})), 2, "train"
    )
    assert moved.fingerprint == store.fingerprint
    changed = content["2.png"].copy()
    changed[5, 5, 1] ^= 1
    other = open_packed(single(images("changed", content | {"2.png": changed})), 2, "train")
    assert other.fingerprint != store.fingerprint
    swapped = content | {"0.png": content["1.png"], "1.png": content["0.png"]}
    assert open_packed(single(images("swapped", swapped)), 2, "train").fingerprint != store.fingerprint


def test_an_edited_set_is_packed_anew(images: WriteImages, single: Single) -> None:
    hr = images("hr", _hr_images())
    options = single(hr)
    open_packed(options, 2, "train")
    edited = noise(99, 13, 19)
    Image.fromarray(edited).save(hr / "1.png")
    store, packed = _packings(options)
    assert packed == 4
    np.testing.assert_array_equal(store.hr(1), edited[:12, :18])
    (hr / "3.png").unlink()
    assert _packings(options)[0].names[:] == ("0.png", "1.png", "2.png")
    (hr / "2.png").rename(hr / "renamed.png")
    assert _packings(options)[0].names[:] == ("0.png", "1.png", "renamed.png")


def test_sets_that_differ_in_their_place_alone_are_told_apart(images: WriteImages, single: Single) -> None:
    # Uncompressed files of equal size, unpacked from archives without times.
    folders = [images(name, {"a.bmp": noise(seed, 8, 8)}) for seed, name in enumerate(("one", "other"))]
    for folder in folders:
        os.utime(folder / "a.bmp", ns=(10**18, 10**18))
    for seed, folder in enumerate(folders):
        np.testing.assert_array_equal(open_packed(single(folder), 2, "train").hr(0), noise(seed, 8, 8))


def _truncate(folder: Path) -> None:
    os.truncate(folder / "hr.bin", (folder / "hr.bin").stat().st_size - 1)


def _flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "lr.bin").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "lr.bin").write_bytes(content)
    # File times are coarse: make sure that the change is later.
    later = (folder / "index.npz").stat().st_mtime_ns + 10**9
    os.utime(folder / "lr.bin", ns=(later, later))


def _break_the_index(folder: Path) -> None:
    (folder / "index.npz").write_bytes((folder / "index.npz").read_bytes()[:100])


def _flip_a_bit_of_the_index(folder: Path) -> None:
    content = bytearray((folder / "index.npz").read_bytes())
    content[content.index(b"3.png")] ^= 1
    (folder / "index.npz").write_bytes(content)


def _rewrite_the_index(folder: Path, without: tuple[str, ...] = (), shorter: tuple[str, ...] = ()) -> None:
    header, arrays = read_arrays(folder / "index.npz", ARRAYS)
    header = {key: value for key, value in header.items() if key not in without}
    kept = {name: array[name in shorter :] for name, array in arrays.items() if name not in without}
    with (folder / "index.npz").open("wb") as file:
        write_arrays(file, header, kept)


def _forget_an_array(folder: Path) -> None:
    _rewrite_the_index(folder, without=("digests",))


def _forget_a_key(folder: Path) -> None:
    _rewrite_the_index(folder, without=("content",))


def _forget_an_image(folder: Path) -> None:
    _rewrite_the_index(folder, shorter=("digests",))


def _forget_a_name(folder: Path) -> None:
    _rewrite_the_index(folder, shorter=("ends",))


def _forget_a_finding(folder: Path) -> None:
    _rewrite_the_index(folder, shorter=("hr_digests",))


def _remove_a_file(folder: Path) -> None:
    (folder / "lr.bin").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _flip_a_bit,
        _break_the_index,
        _flip_a_bit_of_the_index,
        _forget_an_array,
        _forget_a_key,
        _forget_an_image,
        _forget_a_name,
        _forget_a_finding,
        _remove_a_file,
    ],
)
def test_a_damaged_store_is_packed_anew(
    images: WriteImages, single: Single, cache: Path, damage: Callable[[Path], None]
) -> None:
    content = _hr_images()
    options = single(images("hr", content))
    fingerprint = open_packed(options, 2, "train").fingerprint
    damage(_folders(cache)[0])
    store, packed = _packings(options)
    assert packed == 4
    assert store.fingerprint == fingerprint
    assert store.damaged() == []
    np.testing.assert_array_equal(store.hr(2), content["2.png"])


def test_a_copied_store_is_checked_once_and_kept(
    images: WriteImages, single: Single, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = single(images("hr", _hr_images()))
    open_packed(options, 2, "train")
    written = time.time_ns()
    for name, age in (("index.npz", 10), ("lr.bin", 5)):  # in seconds, because file times are coarse
        os.utime(_folders(cache)[0] / name, ns=(written - age * 10**9,) * 2)
    checked: list[int] = []
    monkeypatch.setattr(PackedDataset, "damaged", lambda self: checked.append(1) or [])
    for _ in range(2):
        assert _packings(options)[1] == 0
    assert len(checked) == 1


def test_damaged_names_the_images(images: WriteImages, single: Single, cache: Path) -> None:
    store = open_packed(single(images("hr", _hr_images())), 2, "train")
    assert store.damaged() == []
    with (_folders(cache)[0] / "hr.bin").open("r+b") as file:
        file.seek(store.shapes[0][0] * store.shapes[0][1] * 3)
        file.write(bytes([255 - store.hr(1)[0, 0, 0]]))
    assert store.damaged() == ["1.png"]


def test_all_bad_images_stand_in_one_message_and_nothing_is_written(
    images: WriteImages, paired: Paired, cache: Path
) -> None:
    hr = images("hr", {f"{i}.png": noise(i, 64, 64) for i in range(6)})
    lr = images("lr", {f"{i}.png": noise(i, 32, 32) for i in range(6)})
    os.truncate(hr / "1.png", (hr / "1.png").stat().st_size // 2)
    os.truncate(hr / "2.png", 0)
    Image.fromarray(noise(0, 32, 31)).save(lr / "3.png")
    (lr / "4.png").write_text("no image")
    said = _refused(paired(hr, lr))
    assert "datasets.train: 4 of 6 images cannot be used" in said
    assert f"{hr / '1.png'}: cannot be decoded" in said
    assert f"{hr / '2.png'}: is empty (0 bytes)" in said
    assert f"{lr / '3.png'}: is 31 x 32, but HR 64 x 64 at scale 2 needs LR 32 x 32" in said
    assert f"{lr / '4.png'}: is not an image" in said
    assert "0.png" not in said
    assert "5.png" not in said
    assert _folders(cache) == []


def test_images_that_only_decoding_shows_to_be_bad(images: WriteImages, single: Single, cache: Path) -> None:
    hr = images("hr", {f"{i}.png": noise(i, 64, 64) for i in range(5)})
    os.truncate(hr / "2.png", (hr / "2.png").stat().st_size // 2)
    said = _refused(single(hr))
    assert "1 of 5 images cannot be used" in said
    assert "2.png" in said
    assert _folders(cache) == []
    Image.fromarray(noise(2, 64, 64)).save(hr / "2.png")
    assert _packings(single(hr))[1] == 5


def test_an_image_smaller_than_the_scale(images: WriteImages, single: Single) -> None:
    hr = images("hr", {"big.png": noise(0, 9, 9), "flat.png": noise(1, 3, 9)})
    assert "flat.png: 9 x 3 is smaller than the scale 4" in _refused(single(hr), scale=4)


def test_a_patch_that_does_not_fit(images: WriteImages, single: Single, cache: Path) -> None:
    hr = images("hr", {"big.png": noise(0, 40, 60), "small.png": noise(1, 20, 60)})
    said = _refused(single(hr, lq_size=16))
    assert "lq_size 16 is larger than 1 of 2 LR images: small.png (30 x 10)" in said
    assert "datasets.train.lq_size=10 or less" in said
    assert _folders(cache) == [], "nothing is packed in vain"
    open_packed(single(hr, lq_size=10), 2, "train")
    assert "small.png" in _refused(single(hr, gt_size=32)), "also where the store exists already"


def test_gt_size_that_the_scale_does_not_divide(images: WriteImages, single: Single) -> None:
    said = _refused(single(images("hr", _hr_images()), gt_size=9))
    assert said.startswith("datasets.train.gt_size: gt_size 9 is not a multiple of the scale 2")


def test_where_stores_go(
    images: WriteImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, single: Single, cache: Path
) -> None:
    hr = images("hr", _hr_images(1))
    by_environment = SingleOptions(dataroot_gt=str(hr))
    monkeypatch.setenv("PARAGONSR_CACHE", str(tmp_path / "environment"))
    open_packed(by_environment, 2, "train")
    assert len(_folders(tmp_path / "environment")) == 1
    open_packed(single(hr), 2, "train")
    assert len(_folders(cache)) == 1, "store_root goes before the environment"
    monkeypatch.delenv("PARAGONSR_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    open_packed(by_environment, 2, "train")
    assert len(_folders(tmp_path / "home/.cache/paragonsr/packed")) == 1


def test_a_place_that_cannot_be_written_to(images: WriteImages, tmp_path: Path) -> None:
    (tmp_path / "in_the_way").write_text("")
    options = SingleOptions(dataroot_gt=str(images("hr", _hr_images(1))), store_root=str(tmp_path / "in_the_way/deep"))
    said = _refused(options)
    assert "in_the_way" in said
    assert "the packed images cannot be written" in said
    assert "datasets.train.store_root=/path" in said
    assert "PARAGONSR_CACHE" in said


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_no_write_permission(images: WriteImages, single: Single, cache: Path) -> None:
    cache.mkdir(mode=0o500)
    said = _refused(single(images("hr", _hr_images(1))))
    assert "Permission denied" in said
    assert str(cache) in said


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_may_only_be_read_is_used(images: WriteImages, single: Single, cache: Path) -> None:
    options = single(images("hr", _hr_images(1)))
    open_packed(options, 2, "train")
    cache.chmod(0o500)
    assert _packings(options)[1] == 0


def test_a_full_disk_is_noticed_before_packing(
    images: WriteImages, single: Single, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hr = images("hr", {"a.png": noise(0, 20, 20), "b.png": noise(1, 10, 10)})
    needed = 3 * (400 + 100 + 100 + 25)

    def disk(free: int) -> None:
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: usage)

    disk(needed - 1)
    assert "packing needs" in _refused(single(hr))
    assert _folders(cache) == []
    disk(needed)
    open_packed(single(hr), 2, "train")


def test_a_disk_that_fills_while_packing_leaves_nothing(
    images: WriteImages, single: Single, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    options = single(images("hr", _hr_images()))
    monkeypatch.setattr(packing._Writer, "write", full)
    assert "No space left on device" in _refused(options)
    assert _folders(cache) == []


def test_an_interruption_while_packing_leaves_nothing(images: WriteImages, single: Single, cache: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    options = single(images("hr", _hr_images()))
    with pytest.raises(KeyboardInterrupt):
        open_packed(options, 2, "train", interrupt)
    assert _folders(cache) == []
    assert _packings(options)[1] == 4
