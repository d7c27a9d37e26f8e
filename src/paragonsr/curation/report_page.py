"""HTML report of a curation: input, effect of each condition, and example tiles."""

from collections.abc import Sequence
from pathlib import Path

from paragonsr.curation.expression import Condition, Threshold
from paragonsr.curation.histogram import COLUMN_PIXELS, DROPPED, KEPT, THRESHOLD, histogram, in_words
from paragonsr.curation.scores.registry import SCORES
from paragonsr.curation.selection import Step, steps, understood
from paragonsr.curation.statistics import distribution, rank_correlations
from paragonsr.curation.table import Table, shuffled
from paragonsr.curation.tiling import read_record
from paragonsr.data.images import read_image
from paragonsr.data.manifest import read_header
from paragonsr.errors import UserError
from paragonsr.files import write_atomically
from paragonsr.html.page import Page, grouped
from paragonsr.resize import Image

_SHOWN = 8
"""Pictures in a gallery: one row on a page of normal width."""

_LISTED = 50
"""Maximum lines of a list of errors or near-duplicates."""


def report_page(table: Table, folder: Path, where: str, manifests: Sequence[Path] = ()) -> str:
    """Make the page, as HTML.

    Args:
        table: the scores.
        folder: folder of the tiles.
        where: the expression whose thresholds are shown.
        manifests: selections whose statistics are shown.

    Raises:
        UserError: the expression is not valid, or a manifest does not exist.
    """
    condition = understood(table, where)
    names = [name for name in table.score_names() if table.valued(name)]
    tiles, errors = table.count(), table.count("error IS NOT NULL")
    kept = table.count(f"error IS NULL AND {condition.sql}", condition.parameters)
    share = f"{100 * kept / max(1, tiles - errors):.1f}%"
    page = Page(
        f"Curation of {folder.name}",
        f"{where} keeps {grouped(kept)} of {grouped(tiles - errors)} tiles ({share})",
    )
    _counts(page, table, folder, condition, manifests)
    _distributions(page, table, names, condition)
    page.heading(
        "Correlation of the scores",
        "Spearman's rank correlation: scores with a value near 1 or -1 sort the tiles in the same or reverse order.",
    )
    if names:
        page.heat_table(names, rank_correlations(table, names))
    _galleries(page, table, folder, condition)
    _duplicates(page, table, folder)
    _errors(page, table, errors)
    return page.html()


def write_page(path: Path, html: str) -> None:
    """Write the page atomically; missing folders are created.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, html.encode())
    except OSError as error:
        raise UserError(f"the report cannot be written: {error.strerror or error}", where=str(path)) from error


def _counts(page: Page, table: Table, folder: Path, condition: Condition, manifests: Sequence[Path]) -> None:
    page.heading("Counts per step")
    rows: list[tuple[str, int, str]] = []
    record = read_record(folder)
    if record is not None:
        rows.append(("photographs", record.photographs, ""))
        if record.unreadable:
            rows.append(("unreadable photographs", len(record.unreadable), "listed in tiling.json"))
        small = sorted(record.too_small.items(), key=lambda entry: -float(entry[0]))
        rows += [(f"too small at scale {scale}", n, "photographs smaller than a tile") for scale, n in small]
    rows.append(("tiles", table.count(), ""))
    scales = table.db.execute("SELECT scale, COUNT(*) FROM tiles GROUP BY scale ORDER BY scale DESC").fetchall()
    if len(scales) > 1:
        rows += [(f"at scale {scale:g}", count, "") for scale, count in scales]
    rows.append(("with an error", table.count("error IS NOT NULL"), "never selected"))
    rows += [_of_step(step) for step in steps(table, condition)]
    for manifest in manifests:
        header = read_header(manifest)
        side = {"train": "not held out", "val": "held out"}.get(header["side"], "all photographs")
        limit = f", at most {header['limit']} by {header['order']}" if header["limit"] else ""
        words = f"{header['where']}, {side}{limit}; fingerprint {header['fingerprint']}"
        rows.append((manifest.name, header["images"], words))
    page.table(["step", "number", ""], rows)


def _of_step(step: Step) -> tuple[str, int, str]:
    return step.text, step.left, f"on its own it would leave {grouped(step.alone)}" if step.alone != step.left else ""


def _distributions(page: Page, table: Table, names: Sequence[str], condition: Condition) -> None:
    page.heading("Scores")
    page.colours({"kept": KEPT, "dropped": DROPPED, "threshold": THRESHOLD})
    charts, captions = [], []
    for name in names:
        shown = distribution(table, name, condition)
        if shown is not None:
            charts.append(histogram(shown, [t for t in condition.thresholds if t.column == name]))
            captions.append(". ".join(filter(None, [in_words(shown), SCORES[name].about if name in SCORES else ""])))
    page.charts(charts, captions, COLUMN_PIXELS)


def _galleries(page: Page, table: Table, folder: Path, condition: Condition) -> None:
    page.heading("At the thresholds", "Tiles nearest to each threshold on either side, one per photograph.")
    for threshold in dict.fromkeys(condition.thresholds):
        if threshold.column in table.score_names():
            _around(page, table, folder, threshold)
    page.heading("Random tiles")
    table.db.create_function("shuffled", 1, lambda path: shuffled(path, 0), deterministic=True)
    for title, sql in (("Kept", condition.sql), ("Dropped", f"NOT {condition.sql}")):
        rows = table.db.execute(
            f"SELECT path, NULL FROM tiles WHERE error IS NULL AND {sql} ORDER BY shuffled(path) LIMIT ?",
            [*condition.parameters, _SHOWN],
        )
        page.gallery(title, _pictures(folder, rows.fetchall()))


def _around(page: Page, table: Table, folder: Path, threshold: Threshold) -> None:
    column, value = f'"{threshold.column}"', threshold.value
    upward = threshold.operator.startswith(">")
    for side, order in (("<", "DESC"), (">=", "ASC")) if upward else (("<=", "DESC"), (">", "ASC")):
        nearest = "MAX" if order == "DESC" else "MIN"  # SQLite also takes the path from that row
        rows = table.db.execute(
            # Enough neighbours to include some from different photographs.
            f"SELECT path, {nearest}({column}) FROM (SELECT path, source, {column} FROM tiles WHERE error IS NULL "
            f"AND {column} {side} ? ORDER BY {column} {order} LIMIT {20 * _SHOWN}) "
            f"GROUP BY source ORDER BY 2 {order} LIMIT {_SHOWN}",
            [value],
        ).fetchall()
        what = "below" if order == "DESC" else "above"
        verdict = "passes" if (what == "above") == upward else "fails"
        page.gallery(f"{threshold.column} just {what} {value:.4g}: {verdict}", _pictures(folder, rows))


def _duplicates(page: Page, table: Table, folder: Path) -> None:
    total = table.db.execute("SELECT COUNT(*) FROM duplicates").fetchone()[0]
    split = table.db.execute("SELECT COUNT(*), SUM(held_out) FROM photographs").fetchone()
    held = f"{grouped(split[1])} of {grouped(split[0])} photographs are held out for validation. " if split[0] else ""
    note = f"{held}Near-duplicates are always on one side of the split."
    page.heading(f"Near-duplicates: {grouped(total)} {'pair' if total == 1 else 'pairs'} of photographs", note)
    rows = table.db.execute("SELECT one, other, tiles, share FROM duplicates ORDER BY share DESC, one, other LIMIT 6")
    pictures = []
    for one, other, tiles, share in rows.fetchall():
        for source in (one, other):
            path = table.db.execute(
                "SELECT path FROM tiles WHERE source = ? AND error IS NULL ORDER BY scale DESC, path LIMIT 1", [source]
            ).fetchone()[0]
            pictures.append((_picture(folder, path), f"{source} ({tiles} tiles alike, {100 * share:.0f}%)"))
    page.gallery("Most similar", pictures)


def _errors(page: Page, table: Table, total: int) -> None:
    if total:
        page.heading(f"Tiles with an error: {grouped(total)}")
        rows = table.db.execute(
            "SELECT path, error FROM tiles WHERE error IS NOT NULL ORDER BY path LIMIT ?", [_LISTED]
        )
        page.table(["tile", "error"], rows.fetchall())


def _pictures(folder: Path, rows: list[tuple[str, float | None]]) -> list[tuple[Image | None, str]]:
    return [(_picture(folder, path), path if value is None else f"{value:.4g} · {path}") for path, value in rows]


def _picture(folder: Path, path: str) -> Image | None:
    """Tile image; None if the file no longer exists."""
    try:
        return read_image(folder / path)
    except UserError:
        return None
