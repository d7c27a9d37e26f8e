"""Tiling: every pixel is at the right place, for every kind of file, and no work is repeated."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from paragonsr.curation import photograph as module
from paragonsr.curation.cluster import Crew
from paragonsr.curation.naming import Place, place_of, tile_name
from paragonsr.curation.options import TileOptions
from paragonsr.curation.photograph import Photograph, scaled_size
from paragonsr.curation.provenance import is_current, mark
from paragonsr.curation.tiling import RECORD, TilingRecord, read_record, tile, tile_photographs
from paragonsr.curation.walk import count_images, image_files
from paragonsr.data import images
from paragonsr.data.images import image_size, read_image
from paragonsr.errors import UserError
from paragonsr.resize import resize

Photos = Callable[..., Path]
names = st.text("ab_.0 é", min_size=1, max_size=8).map(lambda text: f"x/{text}.jpg")


def _unheard(done: int, total: int) -> None:
    pass


@given(names, st.integers(1, 20), st.integers(0, 40_000), st.integers(0, 40_000))
def test_a_name_says_where_a_tile_is_from(source: str, twentieths: int, top: int, left: int) -> None:
    place = Place(source, twentieths / 20, top, left)
    assert place_of(tile_name(place)) == place
    assert place_of(tile_name(Place(tile_name(place), 0.5, 1, 2))).source == tile_name(place), "a tile of a tile"


def test_an_image_that_is_no_tile_is_its_own_photograph() -> None:
    for name in ("a.png", "holiday__2020_1_2.png", "a.png__x_0_0.png", "a.png__1_0_0.jpg"):
        assert place_of(name) == Place(name, 1.0, 0, 0)


@given(st.integers(20, 70), st.integers(20, 70), st.integers(5, 20), st.integers(4, 20), st.integers(0, 99))
@settings(max_examples=60)
def test_bands_are_rows_of_the_whole_scaled_photograph(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, twentieths: int, band: int, seed: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "bands.bmp"
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(file)
    scale = twentieths / 20
    size = scaled_size((height, width), scale)
    if size[0] < band:
        assert list(Photograph(file).bands(scale, band)) == []
        return
    stored = [round(side / scale) for side in size]
    whole = resize(pixels[: stored[0], : stored[1]], size)
    tops = []
    for top, rows in Photograph(file).bands(scale, band):
        tops.append(top)
        difference = rows.astype(int) - whole[top : top + band]
        assert np.abs(difference).max() <= (0 if twentieths in (5, 10, 20) else 1)
        assert np.mean(difference != 0) < 0.01
    assert tops == list(range(0, size[0] - band + 1, band))


def test_tiles_cover_the_photograph_once(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    source, target = photos(2, height=75, width=110), tmp_path / "tiles"
    record = tile(source, target, TileOptions(side=32, scales=[1.0, 0.5]), crew, _unheard)
    assert record == TilingRecord(photographs=2, written=2 * (2 * 3 + 1), kept=0)
    for file in source.iterdir():
        photo = read_image(file)
        for top in (0, 32):
            for left in (0, 32, 64):
                found = read_image(target / f"{file.name}__1_{top}_{left}.png")
                np.testing.assert_array_equal(found, photo[top : top + 32, left : left + 32])
        half = resize(photo[:74, :110], (37, 55))
        np.testing.assert_array_equal(read_image(target / f"{file.name}__0.5_0_0.png"), half[:32, :32])
    assert read_record(target) == record


def test_a_second_call_changes_nothing_and_mends_what_is_missing(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    source, target, options = photos(3), tmp_path / "tiles", TileOptions(side=32)
    tile(source, target, options, crew, _unheard)
    before = {file.name: file.stat().st_mtime_ns for file in target.glob("*.png")}
    assert tile(source, target, options, crew, _unheard) == TilingRecord(3, 0, 36)
    assert {file.name: file.stat().st_mtime_ns for file in target.glob("*.png")} == before
    (target / "photo_01.png__1_32_64.png").unlink()
    assert tile(source, target, options, crew, _unheard) == TilingRecord(3, 1, 35)


@pytest.mark.parametrize("years", [-1, 1])
def test_a_photograph_is_replaced_by_one_of_any_date(photos: Photos, tmp_path: Path, crew: Crew, years: int) -> None:
    """Backups preserve old times, and a camera's clock may be ahead."""
    source, target, options = photos(3), tmp_path / "tiles", TileOptions(side=32)
    tile(source, target, options, crew, _unheard)
    when = time.time() + years * 365 * 86400
    Image.fromarray(255 - read_image(source / "photo_02.png")).save(source / "photo_02.png")
    os.utime(source / "photo_02.png", (when, when))
    assert tile(source, target, options, crew, _unheard) == TilingRecord(3, 12, 24)
    photo = read_image(source / "photo_02.png")
    np.testing.assert_array_equal(read_image(target / "photo_02.png__1_32_64.png"), photo[32:64, 64:96])
    assert tile(source, target, options, crew, _unheard) == TilingRecord(3, 0, 36)


def test_times_that_a_file_system_keeps_in_its_own_unit(tmp_path: Path) -> None:
    made, changed = tmp_path / "made", 1_700_000_001_234_567_891
    assert not is_current(made, changed)
    made.touch()
    for unit in (1, 100, 1000, 10**6, 2 * 10**9):
        mark(made, changed // unit * unit)
        assert is_current(made, changed)
    for other in (changed + 1, changed - 100, changed - 3 * 10**9):
        mark(made, other)
        assert not is_current(made, changed)


def test_tiles_follow_their_photographs(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    source, target, options = photos(4), tmp_path / "tiles", TileOptions(side=32)
    tile(source, target, options, crew, _unheard)
    Image.new("RGB", (9, 9)).save(target / "no tile.png")
    (source / "photo_00.png").unlink()
    (source / "photo_01.png").write_bytes(b"spoilt")
    Image.fromarray(read_image(source / "photo_02.png")[:64]).save(source / "photo_02.png")
    record = tile(source, target, options, crew, _unheard)
    assert (record.written, record.kept, record.removed) == (8, 12, 12 + 4)
    assert "16 tiles removed, of photographs that were removed or became smaller" in "\n".join(record.lines())
    left = sorted(file.name.split("__")[0] for file in target.glob("*.png"))
    assert left == ["no tile.png", *["photo_01.png"] * 12, *["photo_02.png"] * 8, *["photo_03.png"] * 12]
    before = {file: file.stat() for file in target.glob("*.png")}
    assert tile(source, target, options, crew, _unheard).removed == 0
    assert {file: file.stat() for file in target.glob("*.png")} == before


def test_a_folder_holds_tiles_of_one_folder(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    source, target, options = photos(1), tmp_path / "tiles", TileOptions(side=32)
    tile(source, target, options, crew, _unheard)
    with pytest.raises(UserError, match="contains tiles of the photographs in") as caught:
        tile(photos(1, name="other"), target, options, crew, _unheard)
    assert str(source) in caught.value.what
    source.rename(tmp_path / "moved")
    with pytest.raises(UserError, match="contains tiles of the photographs in"):
        tile(tmp_path / "moved", target, options, crew, _unheard)
    (target / RECORD).unlink()  # as the message says
    assert tile(tmp_path / "moved", target, options, crew, _unheard) == TilingRecord(1, 0, 12)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "moved").rename(tmp_path / "elsewhere/moved")
    target.rename(tmp_path / "elsewhere/tiles")
    assert tile(tmp_path / "elsewhere/moved", tmp_path / "elsewhere/tiles", options, crew, _unheard).kept == 12


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names and no such files")
def test_names_and_files_that_are_none(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    source, target = photos(1), tmp_path / "tiles"
    content = (source / "photo_00.png").read_bytes()
    strange = ["line\nbreak.png", "quote'\".png", "照片.png", " .png", "-dash.png", "é" * 98 + ".png"]
    for name in strange:
        (source / name).write_bytes(content)
    (source / ("x" * 240 + ".png")).write_bytes(content)
    Path(os.fsdecode(os.fsencode(source) + b"/caf\xe9.png")).write_bytes(content)
    (source / "nowhere.png").symlink_to("gone.png")
    os.mkfifo(source / "pipe.png")  # reading it would block forever
    record = tile(source, target, TileOptions(side=64), crew, _unheard)
    assert (record.photographs, record.written) == (len(strange) + 1 + 3, 2 * (len(strange) + 1))
    assert record.unreadable == {
        "x" * 240 + ".png": "its name has 244 bytes, but the names of tiles allow only 200; rename it",
        "caf\\xe9.png": "its name is not UTF-8; rename it",
        "nowhere.png": "does not exist",
    }
    "".join(record.lines()).encode()
    for name in strange:
        assert (target / f"{name}__1_0_64.png").is_file()


def test_what_is_too_small_is_skipped_and_said(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    source = photos(1, height=64, width=64)
    photos(1, height=31, width=200, name="photographs/narrow")
    record = tile(source, tmp_path / "tiles", TileOptions(side=32, scales=[1.0, 0.5, 0.25]), crew, _unheard)
    assert record.too_small == {"1": 1, "0.5": 1, "0.25": 2}
    assert record.written == 4 + 1
    said = "\n".join(record.lines())
    assert "2 photographs: 5 tiles cut" in said
    assert "scale 0.25: 2 photographs are too small" in said


def test_whatever_is_in_the_files(tmp_path: Path, crew: Crew) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 40, 3), np.uint8)
    image = Image.fromarray(pixels)
    image.save(source / "good.png")
    image.save(source / "good.webp", lossless=True)
    image.convert("CMYK").save(source / "cmyk.tif")
    image.quantize(16).save(source / "palette.png")
    image.convert("RGBA").save(source / "alpha.png")
    image.convert("L").save(source / "grey.png")
    Image.fromarray(random.integers(0, 65536, (40, 40), np.uint16)).save(source / "deep.png")
    image.save(source / "moving.webp", save_all=True, append_images=[image.rotate(90)], lossless=True)
    image.save(source / "really_png.jpg", format="PNG")
    (source / "text.png").write_text("no image")
    (source / "empty.png").touch()
    content = (source / "good.png").read_bytes()
    (source / "truncated.png").write_bytes(content[: len(content) // 2])
    record = tile(source, target, TileOptions(side=32), crew, _unheard)
    assert record.unreadable.keys() == {"text.png", "empty.png", "truncated.png"}
    assert "0 bytes" in record.unreadable["empty.png"]
    assert record.written == 9
    for name in ("good.png", "good.webp", "alpha.png", "really_png.jpg", "moving.webp"):
        np.testing.assert_array_equal(read_image(target / f"{name}__1_0_0.png"), pixels[:32, :32], name)
    assert sorted(p.name for p in target.glob("*.png")) == sorted(
        f"{p.name}__1_0_0.png" for p in source.iterdir() if p.name not in record.unreadable
    )
    assert "text.png" in json.loads((target / RECORD).read_text())["result"]["unreadable"]


def test_a_large_photograph_is_read_as_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = TileOptions(side=32, scales=[1.0, 0.75])
    pixels = np.random.default_rng(0).integers(0, 256, (100, 90, 3), np.uint8)
    for name, mode in (("a.png", "RGB"), ("b.png", "L"), ("c.jpg", "RGB"), ("d.tif", "CMYK")):
        Image.fromarray(pixels).convert(mode).save(tmp_path / name)
    every = ["a.png", "b.png", "c.jpg", "d.tif"]
    tile_photographs(tmp_path, tmp_path / "small", options, every)
    monkeypatch.setattr(module, "LARGE", 1000)
    tile_photographs(tmp_path, tmp_path / "large", options, every)
    made = sorted(file.name for file in (tmp_path / "large").iterdir())
    assert len(made) == 4 * (6 + 4)
    for name in made:
        np.testing.assert_array_equal(read_image(tmp_path / "large" / name), read_image(tmp_path / "small" / name))
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:9000])
    Image.fromarray(pixels).convert("P").save(tmp_path / "palette.png")
    broken, palette = tile_photographs(tmp_path, tmp_path / "large", options, ["broken.png", "palette.png"])
    assert "cannot be decoded" in broken.error
    assert palette.error == ""


def test_more_pixels_than_are_read_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MOST_PIXELS", 10_000)
    monkeypatch.setattr(module, "LARGE", 20_000)
    file, pixels = tmp_path / "huge.png", np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    Image.fromarray(pixels).save(file)
    with pytest.raises(UserError, match="million pixels"):
        read_image(file)
    assert image_size(file) == (200, 300)
    (tiled,) = tile_photographs(tmp_path, tmp_path / "tiles", TileOptions(side=64, scales=[1.0, 0.5]), [file.name])
    assert tiled.error == ""
    assert tiled.written == 3 * 4 + 1 * 2
    np.testing.assert_array_equal(read_image(tmp_path / "tiles/huge.png__1_128_192.png"), pixels[128:192, 192:256])


def test_folders_that_would_be_cut_again_or_mixed(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    source = photos(1)
    for target in (source, source / "tiles", source.parent):
        with pytest.raises(UserError, match="read as further input"):
            tile(source, target, TileOptions(side=32), crew, _unheard)
    tile(source, tmp_path / "tiles", TileOptions(side=32, scales=[1.0, 0.5]), crew, _unheard)
    for other in (TileOptions(side=64), TileOptions(side=32, scales=[1.0])):
        with pytest.raises(UserError, match="contains tiles of side 32"):
            tile(source, tmp_path / "tiles", other, crew, _unheard)
    assert tile(source, tmp_path / "tiles", TileOptions(side=32, scales=[1.0, 0.5, 0.75]), crew, _unheard).written == 6
    with pytest.raises(UserError, match="folder does not exist"):
        tile(tmp_path / "nowhere", tmp_path / "x", TileOptions(), crew, _unheard)
    assert not (tmp_path / "x").exists()


def test_killed_while_cutting(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    source, options = photos(8), TileOptions(side=32)
    tile(source, tmp_path / "whole", options, crew, _unheard)
    code = (
        "import sys; from pathlib import Path; from paragonsr.curation.tiling import tile_photographs as cut\n"
        "from paragonsr.curation.options import TileOptions\n"
        "source, target = map(Path, sys.argv[1:])\n"
        "for name in sorted(p.name for p in source.iterdir()): cut(source, target, TileOptions(side=32), [name])"
    )
    target = tmp_path / "tiles"
    running = subprocess.Popen([sys.executable, "-c", code, str(source), str(target)])
    while not target.exists() or len(list(target.iterdir())) < 20:
        time.sleep(0.005)
        assert running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.wait()
    left = len(list(target.glob("*.png")))
    assert 0 < left < 8 * 12
    record = tile(source, target, options, crew, _unheard)
    assert record.kept + record.written == 8 * 12
    assert record.kept in (left, left - 1), "the last tile may not have got its photograph's time yet"
    for file in (tmp_path / "whole").glob("*.png"):
        np.testing.assert_array_equal(read_image(target / file.name), read_image(file))


def test_links_in_a_circle_are_walked_once(photos: Photos) -> None:
    folder = photos(2)
    (folder / "deep").mkdir()
    (folder / "deep" / "again").symlink_to(folder, target_is_directory=True)
    (folder / ".hidden.png").touch()
    (folder / "notes.txt").touch()
    Image.new("RGB", (4, 4)).save(folder / "deep" / "b.JPG", format="PNG")
    assert sorted(image_files(folder)) == ["deep/b.JPG", "photo_00.png", "photo_01.png"]
    with pytest.raises(UserError, match="not a folder"):
        list(image_files(folder / "notes.txt"))
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="contains no images"):
        count_images(folder / "empty")


def test_scales_are_checked() -> None:
    for scales in ([0.0], [1.5], [0.333], [0.5, 0.5], []):
        with pytest.raises(ValueError):
            TileOptions(scales=scales)
