"""The report: its numbers match the table, it opens offline, and a real browser reports no errors."""

import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.stats import spearmanr

from paragonsr.curation.cluster import Crew
from paragonsr.curation.duplicates import find_duplicates
from paragonsr.curation.expression import Population, parse
from paragonsr.curation.histogram import KEPT
from paragonsr.curation.options import ScoreOptions, SelectOptions, TileOptions
from paragonsr.curation.report_page import report_page
from paragonsr.curation.scoring import score
from paragonsr.curation.selection import select
from paragonsr.curation.statistics import distribution, rank_correlations
from paragonsr.curation.table import Row, Table
from paragonsr.curation.tiling import tile
from paragonsr.data.images import read_image
from paragonsr.errors import UserError

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WHERE = "pct(contrast) >= 0.4 and complexity > 0.001"


def _unheard(done: int, total: int) -> None:
    pass


def _with_objects(image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Adds discs of all sizes, distributed like leaves and stones in photographs."""
    picture, random = Image.fromarray(image), np.random.default_rng(seed)
    draw = ImageDraw.Draw(picture)
    for _ in range(300):
        x, y = random.uniform(0, 200, 2)
        radius = 2 / random.uniform(0.08, 1)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(random.integers(0, 256, 3).tolist()))
    return np.asarray(picture)


class _Seen(HTMLParser):
    """Visible text of a page, and its links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.links: list[str] = []
        self._hidden = False
        self.feed(html)

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden = tag in ("script", "style")
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


@pytest.fixture
def page(photos: Callable[..., Path], tmp_path: Path, crew: Crew) -> str:
    """The report of eight photographs, one of them duplicated, and two broken files."""
    source, tiles = photos(8, height=200, width=200), tmp_path / "tiles"
    # Shading and noise alone are not enough to distinguish photographs.
    for number in range(8):
        file = source / f"photo_{number:02d}.png"
        Image.fromarray(_with_objects(read_image(file), number)).save(file)
    Image.fromarray(read_image(source / "photo_03.png")).save(source / "copy & <paste>.png")
    (source / "broken.png").write_bytes(b"no image")
    tile(source, tiles, TileOptions(side=64, scales=[1.0, 0.5]), crew, _unheard)
    (tiles / "spoilt.png").write_bytes(b"")
    with Table(tmp_path / "scores.sqlite", create=True) as table:
        score(tiles, table, ScoreOptions(), crew, _unheard)
        find_duplicates(table)
        select(table, tiles, SelectOptions(where=WHERE, limit=11, order="random:2"), tmp_path / "chosen.jsonl")
        return report_page(table, tiles, WHERE, [tmp_path / "chosen.jsonl"])


def test_what_the_page_holds(page: str) -> None:
    seen = _Seen(page)
    text = " ".join(seen.parts)
    assert "photographs 10" in text
    assert "unreadable photographs 1" in text
    assert "tiles 91" in text
    assert "with an error 1" in text
    assert "pct(contrast) >= 0.4 54" in text
    assert "chosen.jsonl 11" in text
    assert "spoilt.png" in text
    assert "is empty (0 bytes)" in text
    assert "Near-duplicates: 1 pair of" in text
    assert "copy & <paste>.png (" in text
    assert page.count('"type":"object","name":"Label"') == 2, "a label at each threshold"
    assert page.count("<img ") > 20
    assert all(link.startswith("data:") for link in seen.links), "opens offline"
    assert "<script src" not in page


def test_a_page_of_tiles_that_are_gone(photos: Callable[..., Path], tmp_path: Path, crew: Crew) -> None:
    tiles = photos(2)
    with Table(tmp_path / "scores.sqlite", create=True) as table:
        score(tiles, table, ScoreOptions(), crew, _unheard)
        shutil.rmtree(tiles)
        page = report_page(table, tiles, "complexity >= 0.5")
        assert "photo_00.png" in page
        assert "<img " not in page
        with pytest.raises(UserError, match="unknown column"):
            report_page(table, tiles, "wonder > 1")
    with Table(tmp_path / "empty.sqlite", create=True) as table:
        table.require(["complexity"])
        assert "0 of 0 tiles" in report_page(table, tiles, "complexity >= 0.5")


values = st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=40)


@given(values)
def test_a_histogram_counts_every_tile_once(scores: list[float]) -> None:
    with Table(Path(":memory:"), create=True) as table:
        table.require(["complexity"])
        table.put([Row(f"{n}.png", 1, 1, scores={"complexity": s}) for n, s in enumerate(scores)], [])
        condition = parse("complexity >= 3", table.columns(), Population(table.valued, table.quantile))
        shown = distribution(table, "complexity", condition)
    assert shown is not None
    assert shown.kept.sum() == sum(s >= 3 for s in scores)
    assert shown.dropped.sum() == sum(s < 3 for s in scores)
    assert shown.mean == pytest.approx(np.mean(scores))
    assert shown.quantiles[0] == min(scores)
    assert shown.quantiles[-1] == max(scores)
    assert shown.quantiles[2] == sorted(scores)[round(0.5 * (len(scores) - 1))]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=30))
def test_correlations_are_spearmans(pairs: list[tuple[int, int]]) -> None:
    with Table(Path(":memory:"), create=True) as table:
        table.require(["a", "b"])
        table.put([Row(f"{n}.png", 1, 1, scores={"a": a, "b": b}) for n, (a, b) in enumerate(pairs)], [])
        found = rank_correlations(table, ["a", "b"])
    columns = np.array(pairs).T
    if all(len(set(column.tolist())) > 1 for column in columns):
        assert found[0, 1] == pytest.approx(spearmanr(*columns).statistic, abs=1e-12)
    else:
        assert np.isnan(found[0, 1])


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(page: str, tmp_path: Path, scheme: str) -> None:
    assert CHROMIUM is not None
    file, shot = tmp_path / "report.html", tmp_path / "shot.png"
    file.write_text(page, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--no-first-run", "--disable-component-update"]
    command += [f"--blink-settings=preferredColorScheme={'01'[scheme == 'light']}", "--window-size=1200,2400"]
    command += ["--virtual-time-budget=8000"]
    command += ["--enable-logging=stderr", f"--screenshot={shot}", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line and "[bokeh" not in line] == []
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert bool(np.median(pixels) > 200) == (scheme == "light")
    kept = tuple(bytes.fromhex(KEPT.removeprefix("#")))
    assert np.count_nonzero(np.abs(pixels - kept).max(axis=2) < 8) > 500, "the bars of what is kept are drawn"
