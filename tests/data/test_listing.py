"""A large set is opened by its listing, and every change is noticed as by a walk."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from paragonsr.data import listing as listing_module
from paragonsr.data import packed as packed_module
from paragonsr.data.listing import Files, Listing, looked_at
from paragonsr.data.manifest import write_manifest
from paragonsr.data.options import PairedOptions, SingleOptions
from paragonsr.data.packed import PackedDataset, open_packed
from paragonsr.errors import UserError

WriteImages = Callable[[str, dict[str, np.ndarray]], Path]
Single = Callable[..., SingleOptions]
Paired = Callable[..., PairedOptions]


def _noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)


@pytest.fixture(autouse=True)
def every_set_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "FEWEST_FILES", 1)


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that the folders were walked over."""
    seen: list[str] = []
    found = Files.found

    def counted(options: SingleOptions, phase: str) -> Files:
        seen.append(phase)
        return found(options, phase)

    monkeypatch.setattr(packed_module.Files, "found", counted)
    return seen


@pytest.fixture
def hr(images: WriteImages) -> Path:
    return _aged(
        images("hr", {name: _noise(i) for i, name in enumerate(("a.bmp", "b.bmp", "deep/c.bmp", "deep/d.bmp"))})
    )


def _aged(folder: Path) -> Path:
    """Let the folders' times lie far enough back that a listing is written.

    The change time cannot be set: it is left out of what is looked at."""
    for path in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        os.utime(path, ns=(time.time_ns() - 10**11,) * 2)
    return folder


@pytest.fixture(autouse=True)
def without_change_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits until a change time is old: modification times alone are looked at, as on Windows."""
    for name in ("walk", "pairing", "listing"):
        module = sys.modules[f"paragonsr.data.{name}"]
        monkeypatch.setattr(module, "stamp", _stamp)


def _stamp(path: str | Path) -> tuple[int, int, int, int]:
    try:
        stat = os.stat(path)
    except OSError:
        return (0, 0, 0, 0)
    return stat.st_mtime_ns, 0, stat.st_ino, stat.st_dev


def _open(options: SingleOptions | PairedOptions) -> PackedDataset:
    return open_packed(options, 2, "train")


def _same(one: PackedDataset, other: PackedDataset) -> None:
    assert one.names[:] == other.names[:]
    assert (one.fingerprint, one.content) == (other.fingerprint, other.content)
    for index in range(len(one)):
        np.testing.assert_array_equal(one.hr(index), other.hr(index))
        np.testing.assert_array_equal(one.lq(index), other.lq(index))


def test_the_second_start_walks_over_no_folder(hr: Path, single: Single, walks: list[str]) -> None:
    first, second = _open(single(hr)), _open(single(hr))
    assert (len(walks), first.listing) == (1, None)
    assert second.listing is not None
    assert second.listing.changed() == []
    _same(first, second)


def test_small_sets_are_walked_over_at_each_start(
    hr: Path, single: Single, walks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "FEWEST_FILES", 5)
    assert [_open(single(hr)).listing for _ in range(3)] == [None] * 3
    assert len(walks) == 3


def _add(hr: Path) -> None:
    Image.fromarray(_noise(9)).save(hr / "deep/e.bmp")


def _remove(hr: Path) -> None:
    (hr / "b.bmp").unlink()


def _rename(hr: Path) -> None:
    (hr / "deep/c.bmp").rename(hr / "deep/x.bmp")


def _replace(hr: Path) -> None:
    Image.fromarray(_noise(9)).save(hr / ".new.bmp")
    os.replace(hr / ".new.bmp", hr / "a.bmp")


def _add_a_folder(hr: Path) -> None:
    (hr / "deep/deeper").mkdir()
    Image.fromarray(_noise(9)).save(hr / "deep/deeper/e.bmp")


def _another_folder_of_the_same_name(hr: Path) -> None:
    times = hr.stat()
    shutil.copytree(hr, hr.parent / "other")
    shutil.rmtree(hr)
    (hr.parent / "other/a.bmp").unlink()
    (hr.parent / "other").rename(hr)
    os.utime(hr, ns=(times.st_mtime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("change", [_add, _remove, _rename, _replace, _add_a_folder, _another_folder_of_the_same_name])
def test_a_changed_folder_is_walked_over(
    hr: Path, single: Single, walks: list[str], change: Callable[[Path], None]
) -> None:
    first = _open(single(hr))
    change(hr)
    changed = _open(single(hr))
    assert len(walks) == 2
    assert changed.fingerprint != first.fingerprint or changed.names[:] != first.names[:]
    shutil.rmtree(Path(str(single(hr).store_root)))
    _same(changed, _open(single(hr)))


def test_a_link_that_leads_to_a_folder_one_day(hr: Path, single: Single, images: WriteImages, tmp_path: Path) -> None:
    (hr / "later").symlink_to(tmp_path / "later")
    _aged(hr)
    _open(single(hr))
    assert _open(single(hr)).listing is not None
    images("later", {"z.bmp": _noise(9)})
    assert _open(single(hr)).names[-1] == "later/z.bmp"


def test_a_folder_that_is_gone_is_an_error(hr: Path, single: Single) -> None:
    _open(single(hr))
    shutil.rmtree(hr)
    with pytest.raises(UserError, match="does not exist"):
        _open(single(hr))


def test_a_file_changed_in_place_is_said_and_packed_at_the_next_start(
    hr: Path, single: Single, walks: list[str]
) -> None:
    first = _open(single(hr))
    size = (hr / "deep/c.bmp").stat().st_size
    with (hr / "deep/c.bmp").open("r+b") as file:
        file.seek(60)
        file.write(b"other")
    os.utime(hr / "deep/c.bmp", ns=(10**18, 10**18))
    assert (hr / "deep/c.bmp").stat().st_size == size
    second = _open(single(hr))
    _same(first, second)
    said: list[str] = []
    with looked_at({"train": second.listing, "val": None}, said.append):
        _until(lambda: said)
    assert said == [
        f"datasets.train: 1 files have changed since they were packed ({hr / 'deep/c.bmp'}): "
        "this run uses the packed images, the next start packs them again"
    ]
    third = _open(single(hr))
    assert len(walks) == 2
    assert third.fingerprint != first.fingerprint
    np.testing.assert_array_equal(third.hr(2), np.asarray(Image.open(hr / "deep/c.bmp")))


def test_nothing_is_said_of_unchanged_files(hr: Path, single: Single) -> None:
    _open(single(hr))
    listing = _open(single(hr)).listing
    said: list[str] = []
    with looked_at({"train": listing}, said.append):
        time.sleep(0.05)
    assert said == []
    assert listing is not None
    assert listing.file.is_file()


def test_a_file_that_is_missing_has_changed_and_a_stopped_look_ends(
    hr: Path, single: Single, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "LOOKED_AT_ONCE", 1)
    _open(single(hr))
    listing = _open(single(hr)).listing
    assert listing is not None
    for name in ("a.bmp", "b.bmp", "deep/d.bmp"):
        (hr / name).unlink()
    assert listing.changed() == [str(hr / name) for name in ("a.bmp", "b.bmp", "deep/d.bmp")]
    looks = iter([False, True])
    assert listing.changed(lambda: next(looks)) == [str(hr / "a.bmp")]


@pytest.mark.parametrize("age_ns", [0, 10**9, -(10**9)])
def test_no_listing_of_a_folder_that_changed_just_now(hr: Path, single: Single, walks: list[str], age_ns: int) -> None:
    os.utime(hr / "deep", ns=(time.time_ns() - age_ns,) * 2)
    assert [_open(single(hr)).listing for _ in range(2)] == [None, None]
    _aged(hr)
    assert _open(single(hr)).listing is None
    assert _open(single(hr)).listing is not None
    assert len(walks) == 3


def _truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _of_another_kind(file: Path) -> None:
    file.write_text("{}")


@pytest.mark.parametrize("damage", [_truncated, _of_another_kind, Path.unlink])
def test_a_damaged_listing_is_not_used(
    hr: Path, single: Single, walks: list[str], cache: Path, damage: Callable[[Path], None]
) -> None:
    first = _open(single(hr))
    damage(*cache.glob("*.npz"))
    _same(first, _open(single(hr)))
    assert len(walks) == 2


def test_a_listing_without_its_store_is_not_used(hr: Path, single: Single, walks: list[str], cache: Path) -> None:
    first = _open(single(hr))
    for folder in cache.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    assert len(_open(single(hr))) == len(first)
    assert len(walks) == 2


def test_other_options_have_another_listing(
    hr: Path, single: Single, images: WriteImages, paired: Paired, cache: Path
) -> None:
    lr = _aged(
        images("lr", {f"{name}.png": _noise(i)[:4, :4] for i, name in enumerate(("a", "b", "deep/c", "deep/d"))})
    )
    two = SingleOptions(dataroot_gt=[str(hr), str(lr)], store_root=str(cache))
    for _ in range(2):
        alone, pairs, both = _open(single(hr)), _open(paired(hr, lr)), _open(two)
        four = open_packed(single(hr), 4, "train")
    assert (len(alone), len(pairs), len(both), len(four)) == (4, 4, 8, 4)
    np.testing.assert_array_equal(pairs.lq(1), _noise(1)[:4, :4])
    assert both.names[4] == f"{lr}/a.png"
    assert four.lr_shapes.tolist() == [[2, 2]] * 4
    assert None not in (alone.listing, pairs.listing, both.listing, four.listing)
    (lr / "b.png").unlink()
    with pytest.raises(UserError, match=r"1 HR image without LR image: b\.bmp"):
        _open(paired(hr, lr))


def test_a_manifest_and_its_weights(hr: Path, cache: Path, walks: list[str]) -> None:
    def select(scores: dict[str, float]) -> None:
        lines = [{"path": name, "bytes": (hr / name).stat().st_size, "score": s} for name, s in scores.items()]
        write_manifest(hr.parent / "some.jsonl", hr, lines, {})
        _age_file(hr.parent / "some.jsonl")

    options = SingleOptions(dataroot_gt=str(hr.parent / "some.jsonl"), sample_weight="score", store_root=str(cache))
    select({"a.bmp": 0.5, "deep/d.bmp": 0.25})
    first, second = _open(options), _open(options)
    assert len(walks) == 1
    assert second.weights is not None
    assert second.weights.tolist() == [0.5, 0.25]
    _same(first, second)
    assert second.manifests == first.manifests
    select({"a.bmp": 0.5, "deep/d.bmp": 1.0})
    third = _open(options)
    assert third.weights is not None
    assert third.weights.tolist() == [0.5, 1.0]
    assert (len(walks), third.content) == (2, first.content)


def _age_file(file: Path) -> None:
    os.utime(file, ns=(file.stat().st_mtime_ns - 10**11,) * 2)


OPEN = """
import sys
from paragonsr.data import listing
from paragonsr.data.options import SingleOptions
from paragonsr.data.packed import open_packed

listing.FEWEST_FILES, listing.COARSEST_TIME_NS = 1, -10**12
store = open_packed(SingleOptions(dataroot_gt=sys.argv[1], store_root=sys.argv[2]), 2, "train")
print(store.fingerprint, len(store.names), flush=True)
"""


def test_two_processes_at_once(hr: Path, cache: Path, single: Single) -> None:
    """Both write the listing, both with their own walk."""
    for _ in range(2):
        command = [sys.executable, "-c", OPEN, str(hr), str(cache)]
        started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        said = [process.communicate(timeout=60)[0] for process in started]
        assert said[0] == said[1]
        assert len(list(cache.glob("*.npz"))) == 1
    assert said[0] == f"{_open(single(hr)).fingerprint} 4\n"


def _until(condition: Callable[[], object]) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("nothing happened")


Action = tuple[str, int, int]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "remove", "rename", "folder", "age", "open"]), st.integers(0, 4), st.integers(0, 2)
        ),
        min_size=4,
        max_size=14,
    )
)
def test_opening_is_as_the_plain_way(actions: list[Action]) -> None:
    """After any changes, a set opened with listings is the one opened without any."""
    with tempfile.TemporaryDirectory() as place:
        hr = Path(place) / "hr"
        hr.mkdir()
        Image.fromarray(_noise(0)).save(hr / "first.bmp")
        options = SingleOptions(dataroot_gt=str(hr), store_root=f"{place}/cache")
        by_listing = 0
        for what, number, deep in [*actions, ("open", 0, 0), ("age", 0, 0), ("open", 0, 0), ("open", 0, 0)]:
            _act(hr, what, hr / ("", "one", "one/two")[deep], number)
            if what == "open":
                store = _open(options)
                by_listing += store.listing is not None
                plain = SingleOptions(dataroot_gt=str(hr), store_root=f"{place}/plain")
                shutil.rmtree(f"{place}/plain", ignore_errors=True)
                _same(store, _open(plain))
        assert by_listing


def _act(hr: Path, what: str, folder: Path, number: int) -> None:
    file = folder / f"{number}.bmp"
    if what == "age":
        _aged(hr)
    elif what == "folder":
        folder.mkdir(parents=True, exist_ok=True)
    elif what == "add" and folder.is_dir() and not file.exists():
        Image.fromarray(_noise(number)).save(file)
    elif what == "remove":
        file.unlink(missing_ok=True)
    elif what == "rename" and file.exists():
        file.rename(folder / f"{number}_renamed.bmp")


def test_stopping_ends_the_thread(hr: Path, single: Single, monkeypatch: pytest.MonkeyPatch) -> None:
    _open(single(hr))
    listing = _open(single(hr)).listing
    begun: list[bool] = []

    def endless(self: Listing, stopped: Callable[[], bool]) -> list[str]:
        begun.append(True)
        _until(stopped)
        return []

    monkeypatch.setattr(Listing, "changed", endless)
    with looked_at({"train": listing}, print):
        _until(lambda: begun)
