"""From an expression to a manifest: the chosen tiles, sorted by path, streamed from the table to the file."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paragonsr.curation.expression import Condition, Population, parse
from paragonsr.curation.options import SelectOptions
from paragonsr.curation.table import Table, shuffled
from paragonsr.data.decoding import Progress, unheard
from paragonsr.data.manifest import SUFFIX, write_manifest
from paragonsr.errors import UserError

TRAIN = "train"
HELD_OUT = "val"
"""The two sides of a split."""

_TOLD = 1000
"""Tiles after which the progress is told: a line is written more quickly than a bar is drawn."""

_SIDES = {
    TRAIN: "source NOT IN (SELECT source FROM photographs WHERE held_out)",
    HELD_OUT: "source IN (SELECT source FROM photographs WHERE held_out)",
}


@dataclass(frozen=True)
class Step:
    """How many tiles are left after one condition of a selection."""

    text: str
    alone: int
    """Tiles that meet it, whatever the others say."""
    left: int
    """Tiles that meet it and all before it."""


def select(
    table: Table,
    folder: Path,
    options: SelectOptions,
    out: Path,
    side: str | None = None,
    progress: Progress = unheard,
) -> dict[str, Any]:
    """Write the manifest of a selection.

    Args:
        table: the scores.
        folder: of the tiles, which the paths of the table are relative to.
        options: expression, limit, order.
        out: the manifest, ending with .jsonl.
        side: only what is held out (`val`) or not (`train`); None takes no notice of the split.
        progress: is told how many tiles are written.

    Returns:
        the header of the manifest.

    Raises:
        UserError: the expression cannot be understood, nothing meets it, or the manifest cannot be written.
    """
    if out.suffix.lower() != SUFFIX:
        raise UserError(f"a manifest's name ends with {SUFFIX}", where=str(out), fix=f"{out.with_suffix(SUFFIX)}.")
    condition = understood(table, options.where)
    where = _where(condition, side)
    order, seed = ordering(options.order, table.score_names())
    if (column := options.order.removeprefix("-")) in table.columns():
        table.index(column)
    chosen = table.count(where, condition.parameters)
    if not chosen:
        raise UserError(
            f"none of {table.count('error IS NULL')} tiles is selected",
            where=repr(options.where),
            fix="lower the threshold that leaves nothing:\n    "
            + "\n    ".join(f"{step.text}: {step.alone} alone, {step.left} left" for step in steps(table, condition)),
        )
    header = {
        "where": options.where,
        "thresholds": [asdict(threshold) for threshold in condition.thresholds],
        "order": options.order,
        "limit": options.limit,
        "side": side,
        "counts": {
            "rows": table.count(),
            "errors": table.count("error IS NOT NULL"),
            "steps": [asdict(step) for step in steps(table, condition, side)],
            "chosen": chosen,
        },
    }
    table.db.create_function("shuffled", 1, lambda path: shuffled(path, seed), deterministic=True)
    images = _images(table, where, condition, order, options.limit)
    return write_manifest(out, folder, _counted(images, min(chosen, options.limit or chosen), progress), header)


def understood(table: Table, text: str) -> Condition:
    """An expression over the columns of a table; every column that it reads has an index afterwards.

    Raises:
        UserError: it cannot be understood.
    """
    condition = parse(text, table.columns(), Population(table.valued, table.quantile))
    for column in condition.columns:
        table.index(column)
    return condition


def steps(table: Table, condition: Condition, side: str | None = None) -> list[Step]:
    """What each of the terms that are joined by `and` leaves over."""
    found: list[Step] = []
    before, parameters = f"error IS NULL AND {_SIDES[side] if side else 'TRUE'}", tuple[Any, ...]()
    if side:
        found.append(Step(f"side: {side}", table.count(before), table.count(before)))
    for term in condition.terms:
        before, parameters = f"{before} AND {term.sql}", parameters + term.parameters
        alone = table.count(f"error IS NULL AND {term.sql}", term.parameters)
        found.append(Step(term.text, alone, table.count(before, parameters)))
    return found


def _where(condition: Condition, side: str | None) -> str:
    return f"error IS NULL AND {condition.sql}" + (f" AND {_SIDES[side]}" if side else "")


def ordering(order: str, scores: Sequence[str]) -> tuple[str, int]:
    """SQL of the order in which a limit counts, and the seed where it is random.

    Raises:
        UserError: there is no such order; `scores` are the columns that can be ordered by.
    """
    word, _, seed = order.partition(":")
    if word == "random" and (not seed or seed.lstrip("-").isdigit()):
        return "shuffled(path), path", int(seed or 0)
    column = order.removeprefix("-")
    if column not in ("path", *scores):
        raise UserError(
            f"tiles cannot be ordered by {order!r}",
            where="order",
            fix=f"Write path, random:SEED, or a score, -SCORE for the greatest first: {', '.join(scores)}.",
        )
    return f'"{column}" {"DESC" if order.startswith("-") else "ASC"}, path', 0


def _counted(images: Iterator[dict[str, Any]], total: int, progress: Progress) -> Iterator[dict[str, Any]]:
    for done, image in enumerate(images, 1):
        yield image
        if done == total or done % _TOLD == 0:
            progress(done, total)


def _images(table: Table, where: str, condition: Condition, order: str, limit: int | None) -> Iterator[dict[str, Any]]:
    names = ["path", "bytes", "digest", *table.score_names()]
    columns = ", ".join(f'"{name}"' for name in names)
    sql = f"SELECT {columns} FROM tiles WHERE {where}"
    parameters: tuple[Any, ...] = condition.parameters
    if limit is not None:
        sql = f"SELECT {columns} FROM tiles WHERE id IN (SELECT id FROM tiles WHERE {where} ORDER BY {order} LIMIT ?)"
        parameters = (*parameters, limit)
    for values in table.db.execute(f"{sql} ORDER BY path", parameters):
        yield {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in zip(names, values, strict=True)
            if value is not None
        }
