"""What the report shows of a table: distributions and correlations, computed where the rows are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paragonsr.curation.expression import Condition
from paragonsr.curation.table import Table

BINS = 48
_SAMPLED = 20_000
"""Rows that correlations are computed from, at most."""

QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


@dataclass(frozen=True)
class Distribution:
    """One score over all tiles without error."""

    name: str
    low: float
    high: float
    """Range of the bins; what lies outside is counted in the first and last."""
    kept: NDArray[np.int64]
    """Tiles in each bin that a selection keeps."""
    dropped: NDArray[np.int64]
    mean: float
    quantiles: tuple[float, ...]
    """At `QUANTILES`."""


def distribution(table: Table, name: str, condition: Condition) -> Distribution | None:
    """How a score is distributed, and what of it a selection keeps; None where no tile has it.

    The bins span the middle 99%, so that a few wild values do not squeeze all others into one bin.
    """
    count = table.valued(name)
    if not count:
        return None

    def at(share: float) -> float:
        value = table.quantile(name, min(count - 1, round(share * (count - 1))))
        assert value is not None
        return value

    low, high = at(0.005), at(0.995)
    if high <= low:
        low, high = low - 0.5, low + 0.5
    step = (high - low) / BINS
    kept, dropped = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    sql = (
        f'SELECT MAX(0, MIN({BINS - 1}, CAST(("{name}" - ?) / ? AS INTEGER))) AS bin, IFNULL({condition.sql}, 0), '
        f'COUNT(*) FROM tiles WHERE error IS NULL AND "{name}" IS NOT NULL GROUP BY 1, 2'
    )
    for position, is_kept, tiles in table.db.execute(sql, (low, step, *condition.parameters)):
        (kept if is_kept else dropped)[position] = tiles
    mean = table.db.execute(f'SELECT AVG("{name}") FROM tiles WHERE error IS NULL').fetchone()[0]
    return Distribution(name, low, high, kept, dropped, float(mean), tuple(at(share) for share in QUANTILES))


def rank_correlations(table: Table, names: list[str]) -> NDArray[np.float64]:
    """Spearman's correlation of every two scores: their scales are too different for a linear one.

    Returns:
        len(names) x len(names); NaN where a score is the same for all tiles.
    """
    every = max(1, table.count() // _SAMPLED)
    columns = ", ".join(f'"{name}"' for name in names)
    complete = " AND ".join(f'"{name}" IS NOT NULL' for name in names)
    rows = table.db.execute(
        f"SELECT {columns} FROM tiles WHERE id % ? = 0 AND error IS NULL AND {complete}", [every]
    ).fetchall()
    if len(rows) < 3:
        return np.full((len(names), len(names)), np.nan)
    ranks = np.array([_ranks(column) for column in np.array(rows, float).T])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.atleast_2d(np.corrcoef(ranks))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[inverse]
