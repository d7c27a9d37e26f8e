"""Detection of near-duplicate photographs by the perceptual hashes of their tiles.

Two hashes that differ in at most three of 64 bits agree in at least one of four bands of 16 bits (a pigeonhole
argument; Manku, Jain and Das Sarma 2007, "Detecting near-duplicates for web crawling"). So only tiles that share a band
are compared: SQLite reads them bucket by bucket from one index per band, and only one bucket is in memory.
"""

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from paragonsr.curation.table import Table
from paragonsr.data.decoding import Progress, unheard

BANDS = 4
"""Number of bands of a hash."""
BITS = 16
"""Bits per band."""
DISTANCE = BANDS - 1
"""Maximum number of differing bits of two tiles that show the same."""

SHARE = 0.25
"""Share of the tiles of the smaller photograph that must have a match in the other one."""

PLAIN = "complexity < 0.15"
"""Tiles with too little content to distinguish photographs: all clear skies look alike."""

_AT_ONCE = 2048
"""Number of tiles of a bucket that are compared with as many others at once."""


def find_duplicates(table: Table, progress: Progress = unheard) -> int:
    """Fill the table `duplicates` with pairs of near-duplicate photographs.

    Args:
        table: table of scores, which contains the hashes.
        progress: called with the number of compared bands of the hash and their total.

    Returns:
        number of pairs.
    """
    db = table.db
    for band in range(BANDS):
        db.execute(f"CREATE INDEX IF NOT EXISTS tiles_by_band_{band} ON tiles ({_band(band)}, id)")
    table.index("path")
    db.execute("CREATE TEMP TABLE IF NOT EXISTS alike (one INTEGER, other INTEGER, PRIMARY KEY (one, other))")
    with table.transaction():
        db.execute("DELETE FROM alike")
        for band in range(BANDS):
            db.executemany("INSERT OR IGNORE INTO alike VALUES (?, ?)", _pairs(table, band))
            progress(band + 1, BANDS)
        db.execute("DELETE FROM duplicates")
        db.execute(
            """
            INSERT INTO duplicates
            SELECT one, other, MIN(ones, others), share FROM (
                SELECT a.source AS one, b.source AS other, COUNT(DISTINCT a.id) AS ones, COUNT(DISTINCT b.id) AS others,
                    MAX(1.0 * COUNT(DISTINCT a.id) / (SELECT COUNT(*) FROM tiles WHERE source = a.source),
                        1.0 * COUNT(DISTINCT b.id) / (SELECT COUNT(*) FROM tiles WHERE source = b.source)) AS share
                FROM (SELECT one, other FROM alike UNION ALL SELECT other, one FROM alike) AS p
                JOIN tiles a ON a.id = p.one JOIN tiles b ON b.id = p.other
                WHERE a.source < b.source GROUP BY a.source, b.source
            ) WHERE share >= ?
            """,
            [SHARE],
        )
        db.execute("DELETE FROM alike")
    return int(db.execute("SELECT COUNT(*) FROM duplicates").fetchone()[0])


def families(table: Table) -> dict[str, str]:
    """Photograph -> the first, by name, of its group of near-duplicates; only photographs that have any."""
    first: dict[str, str] = {}

    def root(name: str) -> str:
        while first.setdefault(name, name) != name:
            first[name] = first[first[name]]
            name = first[name]
        return name

    for one, other in table.db.execute("SELECT one, other FROM duplicates"):
        low, high = sorted((root(one), root(other)))
        first[high] = low
    return {name: root(name) for name in first}


def _band(band: int) -> str:
    return f"(hash >> {band * BITS}) & {2**BITS - 1}"


def _pairs(table: Table, band: int) -> Iterator[tuple[int, int]]:
    """Ids of similar tiles of different photographs that share a band."""
    # A separate cursor, because the inserting statement uses the other one.
    rows = table.db.cursor().execute(
        f"SELECT {_band(band)} AS value, id, hash, source FROM tiles "
        f"WHERE hash IS NOT NULL AND NOT ({PLAIN}) ORDER BY {_band(band)}, id"
    )
    for _, bucket in groupby(rows, key=lambda row: row[0]):
        held = list(bucket)
        if len(held) > 1:
            yield from _alike(held)


def _alike(bucket: list[tuple[int, int, int, str]]) -> Iterator[tuple[int, int]]:
    ids = [row[1] for row in bucket]
    hashes = np.array([row[2] for row in bucket], np.int64).view(np.uint64)
    names: dict[str, int] = {}
    sources = np.array([names.setdefault(row[3], len(names)) for row in bucket])
    if len(names) < 2:
        return
    for top in range(0, len(bucket), _AT_ONCE):
        for left in range(top, len(bucket), _AT_ONCE):
            rows, columns = slice(top, top + _AT_ONCE), slice(left, left + _AT_ONCE)
            near = np.bitwise_count(hashes[rows, None] ^ hashes[columns]) <= DISTANCE
            near &= sources[rows, None] != sources[columns]
            for i, j in np.argwhere(near).tolist():
                if top + i < left + j:
                    yield ids[top + i], ids[left + j]
