"""The table has one row per tile, whatever happens to files and processes."""

import os
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from paragonsr.curation import scoring
from paragonsr.curation.cluster import DIED, Crew, in_parallel
from paragonsr.curation.options import ScoreOptions
from paragonsr.curation.scores.hashing import perceptual_hash
from paragonsr.curation.scores.registry import SCORES, score_image
from paragonsr.curation.scoring import Counter, chunks, measured, record, score
from paragonsr.curation.table import Row, Table
from paragonsr.data.images import read_image
from paragonsr.errors import UserError

Photos = Callable[..., Path]
Rows = list[tuple[Any, ...]]


def _unheard(done: int, total: int) -> None:
    pass


def _scored(folder: Path, out: Path, crew: Crew, **options: Any) -> scoring.Scored:
    with Table(out, create=True) as table:
        return score(folder, table, ScoreOptions(**options), crew, _unheard)


def _content(out: Path, *columns: str) -> Rows:
    """All rows by path, without the columns that differ between two tables of equal content."""
    with Table(out) as table:
        wanted = columns or [name for name in table.columns() if name != "revision"]
        return list(
            table.db.execute(
                f"SELECT {', '.join(map(chr(34).__add__, (w + chr(34) for w in wanted)))} FROM tiles ORDER BY path"
            )
        )


def test_a_row_says_all_about_a_tile(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    folder, out = photos(2), tmp_path / "scores.sqlite"
    name = "deep/a.jpg__0.5_32_64.png"
    (folder / "deep").mkdir()
    Image.fromarray(read_image(folder / "photo_01.png")).save(folder / name)
    assert _scored(folder, out, crew) == scoring.Scored(tiles=3, new=3, errors=0, forgotten=0)
    facts = _content(out, "path", "source", "scale", "top", "left", "height", "width", "error")
    assert facts == [
        (name, "deep/a.jpg", 0.5, 32, 64, 96, 128, None),
        ("photo_00.png", "photo_00.png", 1.0, 0, 0, 96, 128, None),
        ("photo_01.png", "photo_01.png", 1.0, 0, 0, 96, 128, None),
    ]
    for path, hashed, *scores in _content(out, "path", "hash", *SCORES):
        image = read_image(folder / path)
        assert hashed % 2**64 == perceptual_hash(image)
        assert dict(zip(SCORES, scores, strict=True)) == pytest.approx(score_image(image))
    digests = _content(out, "digest")
    assert digests[0] == digests[2] != digests[1], "of the pixels, not of the file"


def test_a_broken_image_costs_its_own_row(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    folder, out = photos(6), tmp_path / "scores.sqlite"
    _scored(folder, tmp_path / "whole.sqlite", crew)
    content = (folder / "photo_02.png").read_bytes()
    (folder / "photo_02.png").write_bytes(content[: len(content) // 2])
    (folder / "photo_04.png").write_bytes(b"")
    assert _scored(folder, out, crew, batch=4).errors == 2
    whole, found = _content(tmp_path / "whole.sqlite", "path", *SCORES), _content(out, "path", *SCORES)
    assert [row for row in found if row[0] not in ("photo_02.png", "photo_04.png")] == [
        row for row in whole if row[0] not in ("photo_02.png", "photo_04.png")
    ]
    errors = {path: error for path, error in _content(out, "path", "error") if error}
    assert errors.keys() == {"photo_02.png", "photo_04.png"}
    assert "0 bytes" in errors["photo_04.png"]
    blank = [scores for path, *scores in found if path in errors]
    assert blank == [[None] * len(SCORES)] * 2, "unknown score stands for one that is not known, 0 least of all"


def test_a_score_that_fails_costs_one_row(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = read_image(photos(1) / "photo_00.png")

    def failing(image: object) -> float:
        raise ZeroDivisionError("of nothing")

    assert measured("a", (1, 2), image, {"x": failing}).error == "ZeroDivisionError: of nothing"
    assert "x cannot be computed" in str(measured("a", (1, 2), image, {"x": lambda _: float("nan")}).error)
    fine = measured("a", (1, 2), image, {"x": lambda _: 0.5})
    assert fine.error is None
    assert fine.scores["x"] == 0.5


def test_an_error_that_may_have_passed_is_tried_again(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    folder, out = photos(2), tmp_path / "scores.sqlite"
    (folder / "broken.png").write_bytes(b"whatever one does")
    (folder / "link.png").symlink_to(tmp_path / "later.png")

    def deadly(image: object) -> float:
        raise MemoryError("of the GPU")

    names = [*SCORES, "network"]
    assert _scored(folder, out, crew).errors == 2
    photo = read_image(folder / "photo_00.png")
    stat = (folder / "photo_00.png").stat()
    with Table(out) as table:
        table.require(names)
        table.put([measured("photo_00.png", (stat.st_size, stat.st_mtime_ns), photo, {"network": deadly})], names)
        table.put([*scoring._lost(folder, "photo_01.png", DIED)], names)
    Image.fromarray(photo).save(tmp_path / "later.png")
    assert _scored(folder, out, crew) == scoring.Scored(tiles=4, new=3, errors=1, forgotten=0)
    assert _content(out, "error", "path")[0] == ("is not an image, or its header is damaged", "broken.png")
    assert _scored(folder, out, crew).new == 0, "what is broken stays so until the file changes"


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
def test_a_name_that_no_table_can_hold(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    folder = photos(1)
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")).touch()
    with pytest.raises(UserError, match="not UTF-8") as caught:
        _scored(folder, tmp_path / "scores.sqlite", crew)
    str(caught.value).encode()
    assert _content(tmp_path / "scores.sqlite", "path") == []


def test_a_full_disk_and_a_locked_table_are_said(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    folder, out = photos(2), tmp_path / "deep" / "scores.sqlite"
    _scored(folder, out, crew)

    def put(pragma: str) -> None:
        with Table(out) as table:
            pages = table.db.execute("PRAGMA page_count").fetchone()[0]
            table.db.execute(f"PRAGMA {pragma.format(pages)}")
            table.put([Row(f"{n}.png", 1, 1, digest="x" * 500) for n in range(200)], [])

    with pytest.raises(UserError, match="disk is full"):
        put("max_page_count = {}")
    with Table(out) as other, other.transaction(), pytest.raises(UserError, match="is locked"):
        put("busy_timeout = 1")
    assert _scored(folder, out, crew) == scoring.Scored(2, 0, 0, 0), "what was written before is kept"
    with pytest.raises(ZeroDivisionError), Table(out):
        raise ZeroDivisionError


def test_a_second_call_scores_only_what_changed(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    folder, out = photos(5), tmp_path / "scores.sqlite"
    _scored(folder, out, crew)
    before = _content(out)
    assert _scored(folder, out, crew).new == 0
    assert _content(out) == before
    Image.fromarray(255 - read_image(folder / "photo_01.png")).save(folder / "photo_01.png")
    (folder / "photo_03.png").unlink()
    Image.fromarray(read_image(folder / "photo_00.png")).save(folder / "new.png")
    assert _scored(folder, out, crew) == scoring.Scored(tiles=5, new=2, errors=0, forgotten=1)
    _scored(folder, tmp_path / "anew.sqlite", crew)
    assert _content(out) == _content(tmp_path / "anew.sqlite")


def test_a_further_score_is_added_and_stays(
    photos: Photos, tmp_path: Path, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"7")
    monkeypatch.setattr(
        scoring, "open_scorer", lambda name, file: lambda image: float(file.read_bytes()) if file else 1.0
    )
    folder, out = photos(3), tmp_path / "scores.sqlite"
    _scored(folder, out, crew)
    assert _scored(folder, out, crew, also={"nice": str(weights)}).new == 3
    assert _scored(folder, out, crew).new == 0, "the table has more than is asked for"
    assert _scored(folder, out, crew, also={"odd": None}).new == 3
    assert _content(out, "nice", "odd") == [(7.0, 1.0)] * 3
    assert _scored(folder, out, crew, also={"odd": None, "nice": str(weights)}).new == 0
    weights.write_bytes(b"8")
    scoring._scorers.cache_clear()
    assert _scored(folder, out, crew, also={"nice": str(weights)}).new == 3, "other weights are another score"
    assert _content(out, "nice") == [(8.0,)] * 3
    with pytest.raises(UserError, match="already a column of the table"):
        _scored(folder, out, crew, also={"bytes": None})


SCORE = """
import sys
from pathlib import Path
from paragonsr.curation.cluster import Crew
from paragonsr.curation.options import ScoreOptions
from paragonsr.curation.scoring import score
from paragonsr.curation.table import Table
if __name__ == "__main__":
    folder, out = map(Path, sys.argv[1:])
    with Crew(1) as crew, Table(out, create=True) as table:
        score(folder, table, ScoreOptions(batch=2), crew, lambda done, total: print(done, flush=True))
"""


@pytest.fixture
def scoring_process(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `score` in its own process, which prints the number of finished tiles."""
    (tmp_path / "score.py").write_text(SCORE)
    return lambda folder, out: subprocess.Popen(
        [sys.executable, str(tmp_path / "score.py"), str(folder), str(out)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_killed_while_scoring(photos: Photos, tmp_path: Path, crew: Crew, scoring_process: Any) -> None:
    folder, out = photos(60, height=200, width=200), tmp_path / "scores.sqlite"
    running = scoring_process(folder, out)
    for line in running.stdout:
        if int(line) >= 20:
            break
    workers = psutil.Process(running.pid).children()
    assert workers
    running.send_signal(signal.SIGKILL)
    running.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive, "workers end with the process that they work for"
    scored = _scored(folder, out, crew)
    assert scored.tiles == 60
    assert scored.new > 0
    _scored(folder, tmp_path / "whole.sqlite", crew)
    assert _content(out) == _content(tmp_path / "whole.sqlite")


def test_two_processes_score_the_same_folder(photos: Photos, tmp_path: Path, crew: Crew, scoring_process: Any) -> None:
    folder, out = photos(12), tmp_path / "scores.sqlite"
    running = [scoring_process(folder, out) for _ in range(2)]
    assert [process.communicate() and process.returncode for process in running] == [0, 0]
    _scored(folder, tmp_path / "whole.sqlite", crew)
    assert _content(out) == _content(tmp_path / "whole.sqlite")


def test_an_item_that_kills_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deadly.py").write_text(
        textwrap.dedent("""
        import os

        def work(items):
            if "poison" in items:
                os._exit(1)
            return [item.upper() for item in items]
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    import deadly  # type: ignore[import-not-found]

    items = ["a", "b", "poison", "c", "d", "e", "f", "g", "h"]
    with Crew(2) as crew:
        results = list(in_parallel(crew, deadly.work, chunks(items, 2), lambda item, why: [f"{item}: {why}"]))
    flat = sorted(result for some in results for result in some)
    assert flat == ["A", "B", "C", "D", "E", "F", "G", "H", f"poison: {DIED}"]


class _Lazy(Crew):
    """Finishes the oldest task when a new one is requested; counts the tasks in progress."""

    def __init__(self, size: int) -> None:
        self._size, self.most, self._open = size, 0, 0

    @property
    def size(self) -> int:
        return self._size

    def submit(self, work: Callable[[Sequence[Any]], Any], items: Sequence[Any]) -> Future[Any]:
        self._open += 1
        self.most = max(self.most, self._open)
        future: Future[Any] = Future()
        future.set_result(work(items))
        future.add_done_callback(lambda _: setattr(self, "_open", self._open - 1))
        return future

    def __exit__(self, *_: object) -> None:
        pass


@given(st.integers(0, 50), st.integers(1, 7), st.integers(1, 4))
def test_every_item_once_and_few_under_way(count: int, batch: int, size: int) -> None:
    taken = 0

    def items() -> Iterator[str]:
        nonlocal taken
        for i in range(count):
            taken += 1
            yield str(i)

    seen: list[str] = []
    for result in in_parallel(_Lazy(size), list, chunks(items(), batch), lambda item, why: []):
        seen += result
        assert taken - len(seen) <= (3 * size + 1) * batch, "no more is read than is worked on"
    assert sorted(seen, key=int) == [str(i) for i in range(count)]


def test_what_a_worker_raises_is_raised(photos: Photos, tmp_path: Path, crew: Crew) -> None:
    def broken(items: Sequence[str]) -> list[str]:
        raise UserError("no such weights")

    with pytest.raises(UserError, match="no such weights"):
        list(in_parallel(crew, broken, [["a"]], lambda item, why: []))


def test_memory_does_not_grow_with_the_number_of_tiles(tmp_path: Path) -> None:
    names = list(SCORES)

    def rows(first: int, count: int) -> Iterator[list[Row]]:
        scores = dict.fromkeys(names, 0.5)
        for i in range(first, first + count, 32):
            yield [Row(f"p{n // 9}.jpg__1_{n % 9}_0.png", 9, 9, 9, 9, n, "d", scores) for n in range(i, i + 32)]

    with Table(tmp_path / "scores.sqlite", create=True) as table:
        table.require(names)
        peaks = []
        for first, count in ((0, 1600), (1600, 6400)):
            tracemalloc.start()
            assert record(table, rows(first, count), names, Counter(count, _unheard)) == count
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert table.count() == 8000
    assert peaks[1] < 1.3 * peaks[0]


def test_what_is_written_before_an_interruption_stays(tmp_path: Path) -> None:
    def rows() -> Iterator[list[Row]]:
        yield [Row("a.png", 1, 1)]
        raise KeyboardInterrupt

    with Table(tmp_path / "scores.sqlite", create=True) as table:
        with pytest.raises(KeyboardInterrupt):
            record(table, rows(), [], Counter(2, _unheard))
        assert table.count() == 1


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
def test_hashes_come_back_as_64_bits(hashes: list[int]) -> None:
    with Table(Path(":memory:"), create=True) as table:
        table.put([Row(f"{i}.png", 1, 1, hash=value) for i, value in enumerate(hashes)], [])
        found = [value for (value,) in table.db.execute("SELECT hash FROM tiles ORDER BY id")]
    assert [value % 2**64 for value in found] == hashes
    assert np.array(found, np.int64).view(np.uint64).tolist() == hashes


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="table of scores"):
        Table(tmp_path / "nowhere.sqlite")
    (tmp_path / "text.sqlite").write_text("these are no scores, whatever the name says" * 30)
    with pytest.raises(UserError, match="is not a writable table of scores"):
        Table(tmp_path / "text.sqlite")
    with pytest.raises(UserError, match="is not a writable table of scores"):
        Table(tmp_path / "text.sqlite" / "folder.sqlite", create=True)
