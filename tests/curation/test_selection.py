"""Expressions, manifests, and folders made from them."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paragonsr.curation import materialise as linking
from paragonsr.curation.expression import Condition, Population, parse
from paragonsr.curation.materialise import materialise
from paragonsr.curation.options import SelectOptions
from paragonsr.curation.selection import select
from paragonsr.curation.table import Row, Table
from paragonsr.data.manifest import read_header, read_images
from paragonsr.errors import UserError

COLUMNS = ["path", "complexity", "blockiness", "noise"]
NOBODY = Population(lambda column: 0, lambda column, position: None)


def _unheard(done: int, total: int) -> None:
    pass


def _row(number: int, complexity: float, blockiness: float = 0.0, **facts: Any) -> Row:
    scores = {"complexity": complexity, "blockiness": blockiness}
    return Row(f"p{number:02d}.png__1_0_0.png", 4, 7, 8, 8, number, f"d{number}", scores, **facts)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    """Twenty tiles of complexity 0, 0.05, ... 0.95 and blockiness 40, 38, ... 2, and a broken one."""
    with Table(tmp_path / "scores.sqlite", create=True) as table:
        table.require(["complexity", "blockiness"])
        table.put([_row(n, n / 20, 40 - 2 * n) for n in range(20)], ["complexity", "blockiness"])
        table.put([Row("broken.png", 0, 0, error="is empty")], ["complexity", "blockiness"])
        yield table


def _chosen(table: Table, where: str, out: Path, **options: Any) -> list[int]:
    select(table, out.parent, SelectOptions(where=where, **options), out)
    return [int(image["path"][1:3]) for image in read_images(out)]


numbers = st.integers(-40, 40).map(lambda n: n / 8)
values = st.recursive(
    st.sampled_from(["complexity", "blockiness"]) | numbers.map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=4,
)
comparisons = st.tuples(values, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), values).map(" ".join)
chains = st.tuples(values, st.sampled_from(["<", ">="]), values, st.sampled_from(["<=", ">"]), values).map(" ".join)
expressions = st.recursive(
    comparisons | chains,
    lambda inner: (
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | inner.map("not ({})".format)
    ),
    max_leaves=6,
)


@given(expressions, st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8))
@settings(max_examples=200)
def test_sql_finds_what_python_finds(text: str, rows: list[tuple[float, float]]) -> None:
    condition = parse(text, COLUMNS, NOBODY)
    with Table(Path(":memory:"), create=True) as table:
        table.require(["complexity", "blockiness"])
        table.put([_row(n, *row) for n, row in enumerate(rows)], [])
        found = {
            path for (path,) in table.db.execute(f"SELECT path FROM tiles WHERE {condition.sql}", condition.parameters)
        }
    wanted = {
        _row(n, 0).path
        for n, (complexity, blockiness) in enumerate(rows)
        if eval(text, {"complexity": complexity, "blockiness": blockiness})
    }
    assert found == wanted
    together = [all(eval(t.text, {"complexity": c, "blockiness": b}) for t in condition.terms) for c, b in rows]
    assert together == [bool(eval(text, {"complexity": c, "blockiness": b})) for c, b in rows]


@given(
    st.lists(st.integers(0, 4).map(lambda n: n / 4), min_size=1, max_size=12),
    st.sampled_from([0, 0.1, 0.25, 0.3, 0.4, 0.5, 0.9, 1]),
    st.sampled_from(["<", "<=", ">", ">="]),
    st.booleans(),
)
@settings(max_examples=300)
def test_pct_is_the_share_of_smaller_values(scores: list[float], share: float, sign: str, turned: bool) -> None:
    mirrored = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}[sign]
    text = f"{share} {mirrored} pct(complexity)" if turned else f"pct(complexity) {sign} {share}"
    with Table(Path(":memory:"), create=True) as table:
        table.require(["complexity"])
        table.put([Row(f"{n}.png", 1, 1, scores={"complexity": score}) for n, score in enumerate(scores)], [])
        condition = parse(text, table.columns(), Population(table.valued, table.quantile))
        found = table.db.execute(f"SELECT path FROM tiles WHERE {condition.sql} ORDER BY id", condition.parameters)
        kept = [int(path[:-4]) for (path,) in found]
    ranks = [sum(other < score for other in scores) for score in scores]
    compare = {"<": float.__lt__, "<=": float.__le__, ">": float.__gt__, ">=": float.__ge__}[sign]
    assert kept == [n for n, rank in enumerate(ranks) if compare(round(rank / len(scores), 9), float(share))]


def test_pct_drops_the_worst(table: Table, tmp_path: Path) -> None:
    assert _chosen(table, "pct(complexity) >= 0.4", tmp_path / "a.jsonl") == list(range(8, 20))
    assert _chosen(table, "pct(complexity) < 0.1 or pct(blockiness) < 0.1", tmp_path / "a.jsonl") == [0, 1, 18, 19]
    (threshold,) = read_header(tmp_path / "a.jsonl")["thresholds"][1:]
    assert threshold == {"column": "blockiness", "operator": "<=", "value": 4.0, "percentile": 0.1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("complexty >= 0.5", "Did you mean 'complexity'"),
        ("wonder > 1", "Choose from path, complexity"),
        ("complexity >= ", "cannot be understood"),
        ("complexity = 0.5", "cannot be understood"),
        ("", "cannot be understood"),
        ("complexity", "is not a comparison"),
        ("1", "is not a comparison"),
        ("complexity in (1, 2)", "not supported"),
        ("__import__('os').system('x') == 0", "not supported"),
        ("complexity.real > 1", "not supported"),
        ("(lambda: 1)() > 0", "not supported"),
        ("complexity > (complexity > 0)", "not supported"),
        ("pct(complexity + 1) > 0.5", "pct(column)"),
        ("pct(complexity) > 40", "from 0 to 1"),
        ("pct(complexity) == 0.4", "from 0 to 1"),
        ("pct(path) > 0.5", "cannot be understood"),
        ("complexity > 1; DROP TABLE tiles", "cannot be understood"),
        ("complexity > " + "9" * 400, "cannot be understood"),
        ("(" * 500 + "1" + ")" * 500, "cannot be understood"),
        ("complexity > 0 and " * 300 + "noise > 0", "longer than"),
        ("complexity > 0\0", "cannot be understood"),
    ],
)
def test_what_cannot_be_understood(table: Table, text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text, COLUMNS, Population(table.valued, table.quantile))
    assert said in str(caught.value)


def test_texts_are_values_and_never_sql(table: Table, tmp_path: Path) -> None:
    condition = parse("""path == "x' OR '1'='1" """, COLUMNS, NOBODY)
    assert condition.sql == '("path" = ?)'
    assert table.count(condition.sql, condition.parameters) == 0
    assert _chosen(table, "source == 'p07.png' or path == 'p03.png__1_0_0.png'", tmp_path / "a.jsonl") == [3, 7]
    assert _chosen(
        table, "top / height == 0 and width / height > 0.9 and scale < 2 and 0.9 < complexity", tmp_path / "b.jsonl"
    ) == [19]
    assert isinstance(condition, Condition)


def test_a_manifest_says_how_it_was_made(table: Table, tmp_path: Path) -> None:
    out = tmp_path / "chosen" / "a.jsonl"
    (tmp_path / "tiles").mkdir()
    options = SelectOptions(where="complexity >= 0.5 and blockiness < 10", limit=3, order="-complexity")
    header = select(table, tmp_path / "tiles", options, out)
    assert header == read_header(out)
    assert header["root"] == "../tiles"
    assert header["where"] == options.where
    assert header["thresholds"] == [
        {"column": "complexity", "operator": ">=", "value": 0.5, "percentile": None},
        {"column": "blockiness", "operator": "<", "value": 10.0, "percentile": None},
    ]
    assert header["counts"] == {
        "rows": 21,
        "errors": 1,
        "steps": [
            {"text": "complexity >= 0.5", "alone": 10, "left": 10},
            {"text": "blockiness < 10", "alone": 4, "left": 4},
        ],
        "chosen": 4,
    }
    images = list(read_images(out))
    assert images[0] == {
        "path": "p17.png__1_0_0.png",
        "bytes": 4,
        "digest": "d17",
        "complexity": 0.85,
        "blockiness": 6.0,
    }
    assert [image["digest"] for image in images] == ["d17", "d18", "d19"]
    again = select(table, tmp_path / "tiles", options, tmp_path / "b.jsonl")
    assert again["fingerprint"] == header["fingerprint"]
    assert [file.name for file in out.parent.iterdir()] == ["a.jsonl"], "nothing unfinished is left"


def test_the_progress_of_a_selection(table: Table, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    options = SelectOptions(where="scale <= 1", limit=7)
    select(table, tmp_path, options, tmp_path / "a.jsonl", progress=lambda done, total: told.append((done, total)))
    assert told == [(7, 7)]


def test_limits_and_orders(table: Table, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    assert _chosen(table, "complexity >= 0", out, limit=4) == [0, 1, 2, 3]
    assert _chosen(table, "complexity >= 0", out, limit=4, order="blockiness") == [16, 17, 18, 19]
    assert _chosen(table, "complexity >= 0", out, limit=4, order="-blockiness") == [0, 1, 2, 3]
    random = {seed: _chosen(table, "complexity >= 0", out, limit=8, order=f"random:{seed}") for seed in range(6)}
    assert all(len(chosen) == 8 for chosen in random.values())
    assert len(set(map(tuple, random.values()))) == 6
    assert random[3] == _chosen(table, "complexity >= 0", out, limit=8, order="random:3")
    smaller = _chosen(table, "complexity >= 0", out, limit=5, order="random:3")
    assert set(smaller) < set(random[3]), "the first of the same order"
    for order in ("randm:3", "random:x", "bytes", "complexty"):
        with pytest.raises(UserError, match="ordered"):
            _chosen(table, "complexity >= 0", out, order=order)


def test_nothing_selected_says_which_threshold_it_was(table: Table, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        _chosen(table, "complexity >= 0.5 and blockiness > 39", tmp_path / "a.jsonl")
    assert "blockiness > 39: 1 alone, 0 left" in str(caught.value)
    assert not (tmp_path / "a.jsonl").exists()
    with pytest.raises(UserError, match="must end with"):
        _chosen(table, "complexity >= 0.5", tmp_path / "a.json")


def test_every_column_of_a_selection_is_indexed(table: Table, tmp_path: Path) -> None:
    _chosen(table, "complexity >= 0.5 and 2 * blockiness < 30", tmp_path / "a.jsonl")
    plan = " ".join(
        row[3] for row in table.db.execute("EXPLAIN QUERY PLAN SELECT path FROM tiles WHERE complexity >= ?", [0.5])
    )
    assert "USING INDEX tiles_by_complexity" in plan


@pytest.fixture
def tiles(table: Table, tmp_path: Path) -> Path:
    """The files of the table: four bytes each."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    for number in range(20):
        (folder / f"p{number:02d}.png__1_0_0.png").write_bytes(b"%04d" % number)
    return folder


def _names(folder: Path) -> list[int]:
    return sorted(int(file.name[1:3]) for file in folder.iterdir() if not file.name.startswith("."))


def _select(table: Table, tiles: Path, where: str) -> Path:
    out = tiles.parent / "chosen.jsonl"
    select(table, tiles, SelectOptions(where=where), out)
    return out


def test_a_folder_follows_its_selection(table: Table, tiles: Path, tmp_path: Path) -> None:
    target = tmp_path / "made"
    assert materialise(_select(table, tiles, "complexity >= 0.75"), target, _unheard) == (5, 0)
    assert _names(target) == [15, 16, 17, 18, 19]
    assert (target / "p15.png__1_0_0.png").samefile(tiles / "p15.png__1_0_0.png"), "no room is needed"
    assert materialise(_select(table, tiles, "complexity >= 0.75"), target, _unheard) == (0, 0)
    assert materialise(_select(table, tiles, "0.6 < complexity < 0.82"), target, _unheard) == (2, 3)
    assert _names(target) == [13, 14, 15, 16]
    (tiles / "p13.png__1_0_0.png").unlink()
    (tiles / "p13.png__1_0_0.png").write_bytes(b"new!")
    assert materialise(tmp_path / "chosen.jsonl", target, _unheard) == (1, 0)
    assert (target / "p13.png__1_0_0.png").read_bytes() == b"new!"


def test_copies_where_links_are_not_possible(
    table: Table, tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(linking.os, "link", refuse)
    target, manifest = tmp_path / "made", _select(table, tiles, "complexity >= 0.75")
    assert materialise(manifest, target, _unheard) == (5, 0)
    assert (target / "p15.png__1_0_0.png").read_bytes() == b"0015"
    assert not (target / "p15.png__1_0_0.png").samefile(tiles / "p15.png__1_0_0.png")
    assert materialise(manifest, target, _unheard) == (0, 0)


def test_images_of_others_are_never_touched(table: Table, tiles: Path, tmp_path: Path) -> None:
    target, manifest = tmp_path / "made", _select(table, tiles, "complexity >= 0.75")
    target.mkdir()
    (target / "mine.png").write_bytes(b"1")
    with pytest.raises(UserError, match=r"mine\.png"):
        materialise(manifest, target, _unheard)
    assert [file.name for file in target.iterdir() if not file.name.startswith(".")] == ["mine.png"]
    (target / "mine.png").unlink()
    materialise(manifest, target, _unheard)
    (target / "mine.png").write_bytes(b"1")
    with pytest.raises(UserError, match=r"mine\.png"):
        materialise(_select(table, tiles, "complexity >= 0.5"), target, _unheard)
    assert (target / "mine.png").exists()


@given(st.integers(0, 12), st.floats(0, 0.9), st.floats(0, 0.9))
@settings(max_examples=30)
def test_interrupted_anywhere_a_folder_ends_as_it_should(
    tmp_path_factory: pytest.TempPathFactory, after: int, first: float, second: float
) -> None:
    place = tmp_path_factory.mktemp("made")
    tiles, target = place / "tiles", place / "target"
    tiles.mkdir()
    with Table(place / "scores.sqlite", create=True) as table:
        table.require(["complexity"])
        for n in range(10):
            path = f"p{n:02d}.png__1_0_0.png"
            (tiles / path).write_bytes(b"1234")
            table.put([Row(path, 4, 1, scores={"complexity": n / 10})], [])
        materialise(_select(table, tiles, f"complexity >= {first}"), target, _unheard)
        manifest = _select(table, tiles, f"complexity <= {second}")
    with pytest.MonkeyPatch.context() as patch:
        calls = iter(range(after))

        def counted(name: str) -> Callable[..., Any]:
            real = getattr(Path if name == "unlink" else os, name)

            def call(*given: Any, **named: Any) -> Any:
                if next(calls, None) is None:
                    raise KeyboardInterrupt
                return real(*given, **named)

            return call

        patch.setattr(linking.os, "link", counted("link"))
        patch.setattr(linking.os, "replace", counted("replace"))
        with suppress(KeyboardInterrupt):
            materialise(manifest, target, _unheard)
    materialise(manifest, target, _unheard)
    assert _names(target) == [n for n in range(10) if n / 10 <= second]
    shutil.rmtree(place)


def test_a_manifest_that_was_changed_is_not_believed(table: Table, tiles: Path) -> None:
    manifest = _select(table, tiles, "complexity >= 0.75")
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(UserError, match="4 images instead of 5"):
        list(read_images(manifest))
    manifest.write_text(lines[0] + "\n" + json.dumps({"path": "x"})[:-1] + "\n")
    with pytest.raises(UserError, match="line 2"):
        list(read_images(manifest))
    manifest.write_text('{"a": 1}')
    with pytest.raises(UserError, match="is not a manifest"):
        read_header(manifest)
