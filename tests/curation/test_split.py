"""Near-duplicates are found and stay on one side of the split."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from paragonsr.curation import duplicates
from paragonsr.curation.cluster import Crew
from paragonsr.curation.duplicates import DISTANCE, families, find_duplicates
from paragonsr.curation.options import ScoreOptions, SelectOptions, TileOptions
from paragonsr.curation.scoring import score
from paragonsr.curation.selection import HELD_OUT, TRAIN, select
from paragonsr.curation.splitting import hold_out
from paragonsr.curation.table import Row, Table
from paragonsr.curation.tiling import tile
from paragonsr.data.images import read_image
from paragonsr.data.manifest import read_images
from paragonsr.errors import UserError

Pair = tuple[str, str]


def _unheard(done: int, total: int) -> None:
    pass


def _table(hashes: dict[str, list[int]], complexity: float = 0.5) -> Table:
    """A table in memory: photograph -> hashes of its tiles."""
    table = Table(Path(":memory:"), create=True)
    table.require(["complexity"])
    rows = [
        Row(f"{name}.png__1_{i}_0.png", 1, 1, hash=value, scores={"complexity": complexity})
        for name, values in hashes.items()
        for i, value in enumerate(values)
    ]
    table.put(rows, [])
    return table


def _pairs(table: Table) -> list[Pair]:
    find_duplicates(table)
    return [(a[:-4], b[:-4]) for a, b in table.db.execute("SELECT one, other FROM duplicates ORDER BY one, other")]


@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.sets(st.integers(0, 63), max_size=6)), max_size=8),
    st.sampled_from([2, 2048]),
)
@settings(max_examples=60)
def test_bands_find_what_comparing_all_finds(seed: int, copies: list[tuple[int, int, set[int]]], at_once: int) -> None:
    hashes = np.random.default_rng(seed).integers(0, 2**64, 12, np.uint64).tolist()
    for source, target, flipped in copies:
        hashes[target] = hashes[source] ^ sum(1 << bit for bit in flipped)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_AT_ONCE", at_once)
        found = _pairs(_table({f"{n:02d}": [value] for n, value in enumerate(hashes)}))
    near = [
        (f"{a:02d}", f"{b:02d}")
        for a in range(12)
        for b in range(a + 1, 12)
        if (hashes[a] ^ hashes[b]).bit_count() <= DISTANCE
    ]
    assert found == near


def test_a_share_of_the_tiles_must_be_alike() -> None:
    random = np.random.default_rng(0).integers(0, 2**64, 20, np.uint64).tolist()
    hashes = {"a": random[:8], "b": [random[0], *random[8:15]], "c": [random[1] ^ 7, random[2], *random[15:20]]}
    assert _pairs(_table(hashes)) == [("a", "c")], "one of eight tiles is chance, two are not"
    table = _table(hashes)
    find_duplicates(table)
    assert table.db.execute("SELECT tiles, share FROM duplicates").fetchall() == [(2, 2 / 7)]
    assert _pairs(_table({"a": random[:8], "crop": [random[5]]})) == [("a", "crop")], "a small part of a large one"
    assert _pairs(_table(hashes, complexity=0.05)) == [], "one clear sky is like another"


def test_duplicates_of_duplicates_are_one_family() -> None:
    table = _table({"c": [0b1111], "b": [0b11110], "a": [0b1111 << 2], "z": [2**63 - 1], "y": [2**63 - 2]})
    find_duplicates(table)
    assert families(table) == {f"{n}.png": f"{f}.png" for n, f in zip("abcyz", "aaayy", strict=True)}
    find_duplicates(table)
    assert len(families(table)) == 5, "found again, not twice"


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(0, 5))
@settings(max_examples=60)
def test_a_photograph_and_its_duplicates_are_on_one_side(seed: int, wanted: int, shift: int) -> None:
    random = np.random.default_rng(seed).integers(0, 2**64, 30, np.uint64).tolist()
    hashes = {f"{n:02d}": [random[n], random[n + 10]] for n in range(20)}
    hashes |= {f"copy{n}": [random[n] ^ 5] for n in range(shift, shift + 3)}
    table = _table(hashes)
    held = hold_out(table, wanted, seed)
    side = dict(table.db.execute("SELECT source, held_out FROM photographs"))
    assert sum(side.values()) == held
    assert wanted <= held <= wanted + 3
    for a, b in table.db.execute("SELECT one, other FROM duplicates"):
        assert side[a] == side[b]
    assert all(side[f"copy{n}.png"] == side[f"{n:02d}.png"] for n in range(shift, shift + 3))
    assert hold_out(table, wanted, seed) == held
    assert dict(table.db.execute("SELECT source, held_out FROM photographs")) == side
    more = _table(hashes | {"new": [random[29] ^ 2**62]})
    hold_out(more, wanted, seed)
    later = dict(more.db.execute("SELECT source, held_out FROM photographs"))
    assert sum(later[name] != side[name] for name in side) <= 4, "one more photograph changes little"


def test_something_must_be_left_to_train_on() -> None:
    table = _table({"a": [1 << 40], "b": [1 << 50]})
    with pytest.raises(UserError, match="leaves none"):
        hold_out(table, 2, 0)
    assert table.db.execute("SELECT COUNT(*) FROM photographs").fetchone()[0] == 0


def test_all_tiles_and_scales_and_a_saved_copy_stay_together(
    photos: Callable[..., Path], tmp_path: Path, crew: Crew
) -> None:
    source, tiles = photos(8, height=200, width=260), tmp_path / "tiles"
    for number in (2, 5):
        image = Image.fromarray(read_image(source / f"photo_{number:02d}.png"))
        image.save(source / f"saved_{number}.jpg", quality=90)
    tile(source, tiles, TileOptions(side=64, scales=[1.0, 0.5]), crew, _unheard)
    with Table(tmp_path / "scores.sqlite", create=True) as table:
        score(tiles, table, ScoreOptions(), crew, _unheard)
        hold_out(table, 3, seed=1)
        found = table.db.execute("SELECT one, other FROM duplicates ORDER BY one").fetchall()
        assert found == [("photo_02.png", "saved_2.jpg"), ("photo_05.png", "saved_5.jpg")]
        sides = {}
        for side in (TRAIN, HELD_OUT):
            select(table, tiles, SelectOptions(where="scale <= 1"), tmp_path / f"{side}.jsonl", side)
            sides[side] = {image["path"].split("__")[0] for image in read_images(tmp_path / f"{side}.jsonl")}
    assert not sides[TRAIN] & sides[HELD_OUT]
    assert len(sides[TRAIN] | sides[HELD_OUT]) == 10
    for number in (2, 5):
        assert len({f"photo_{number:02d}.png", f"saved_{number}.jpg"} & sides[HELD_OUT]) in (0, 2)
