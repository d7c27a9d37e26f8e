"""The table of scores: one SQLite file, one row a tile, one process that writes."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paragonsr.curation.naming import place_of
from paragonsr.data.lock import locked
from paragonsr.errors import UserError

FACTS: dict[str, str] = {
    "path": "TEXT NOT NULL UNIQUE",
    "source": "TEXT NOT NULL",
    "scale": "REAL NOT NULL",
    "top": "INTEGER NOT NULL",
    "left": "INTEGER NOT NULL",
    "height": "INTEGER",
    "width": "INTEGER",
    "hash": "INTEGER",
    "digest": "TEXT",
    "bytes": "INTEGER NOT NULL",
    "modified": "INTEGER NOT NULL",
    "error": "TEXT",
    "revision": "INTEGER NOT NULL",
}
"""The columns beside the scores. (top, left, height, width) is the box in pixels of the scaled photograph; hash is the
perceptual hash as a signed number; digest is that of the pixels; bytes and modified (ns) are the file's; revision
refers to the list of scores that were computed."""

_LOOKED_FOR = 100

_OUTSIDE = tuple(f"SQLITE_{name}" for name in "FULL IOERR BUSY READONLY CORRUPT NOTADB CANTOPEN PERM AUTH".split())
"""Errors of SQLite whose cause is the disk or another process."""

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS tiles (id INTEGER PRIMARY KEY, {", ".join(f'"{n}" {t}' for n, t in FACTS.items())});
CREATE INDEX IF NOT EXISTS tiles_by_source ON tiles (source);
CREATE INDEX IF NOT EXISTS tiles_by_error ON tiles (error) WHERE error IS NOT NULL;
CREATE TABLE IF NOT EXISTS revisions (id INTEGER PRIMARY KEY, scores TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS duplicates
    (one TEXT NOT NULL, other TEXT NOT NULL, tiles INTEGER NOT NULL, share REAL NOT NULL, PRIMARY KEY (one, other));
CREATE TABLE IF NOT EXISTS photographs
    (source TEXT PRIMARY KEY, family TEXT NOT NULL, held_out INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Row:
    """What is known of one tile."""

    path: str
    """Relative to the folder of tiles, with `/`."""
    bytes: int
    """Size of the file."""
    modified: int
    """Its time of change in ns."""
    height: int | None = None
    width: int | None = None
    hash: int | None = None
    """64 bits, not negative."""
    digest: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    final: bool = True
    """False where another try may give another result: the process died, the file could not be opened."""


class Table:
    """The scores of a folder of tiles.

    SQLite in WAL mode: a process that is killed leaves the table as it was after the last batch that was committed.
    Any number of processes read while one writes. The file must be on a local disk.

    Args:
        path: of the SQLite file.
        create: make it where it does not exist, and the folders on the way.

    Raises:
        UserError: this file does not exist, it is none of ours, or it cannot be written; when a `with` block ends, also
            what the disk or another process did to it meanwhile.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        if not create and not path.is_file():
            raise UserError(
                "the table of scores does not exist", where=str(path), fix="Make it with: paragonsr data score"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.db = sqlite3.connect(path, isolation_level=None, timeout=60)
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = NORMAL")
            if not self.db.execute("SELECT 1 FROM sqlite_master WHERE name = 'photographs'").fetchone():
                self.db.executescript(_SCHEMA)
        except (sqlite3.DatabaseError, OSError) as error:
            raise UserError(f"is not a writable table of scores: {error}", where=str(path)) from error

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.db.close()
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorname", "").startswith(_OUTSIDE):
            raise UserError(
                f"the table cannot be worked with: {error}",
                where=str(self.path),
                fix="What was written before is kept; remove the cause, then run the same command to continue.",
            ) from error

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Be the only process that scores while the block runs; waits for the one that does."""
        with locked(self.path.with_name(f"{self.path.name}.lock")):
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block's changes, or none."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self.db.in_transaction:  # SQLite has ended it itself where the disk is full
                self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def columns(self) -> list[str]:
        """Names of all columns that a tile has."""
        return [name for _, name, *_ in self.db.execute("PRAGMA table_info(tiles)") if name != "id"]

    def score_names(self) -> list[str]:
        """The columns that hold scores."""
        return [name for name in self.columns() if name not in FACTS]

    def count(self, where: str = "TRUE", parameters: Sequence[Any] = ()) -> int:
        """Tiles for which an SQL condition holds."""
        return int(self.db.execute(f"SELECT COUNT(*) FROM tiles WHERE {where}", parameters).fetchone()[0])

    def require(self, scores: Sequence[str]) -> None:
        """Add the columns of scores that the table lacks."""
        for name in scores:
            if name not in self.columns():
                self.db.execute(f'ALTER TABLE tiles ADD COLUMN "{name}" REAL')

    def index(self, column: str) -> None:
        """See that rows are found by a column without reading all of them."""
        self.db.execute(f'CREATE INDEX IF NOT EXISTS "tiles_by_{column}" ON tiles ("{column}")')

    def done(self, paths: Sequence[str], signatures: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Those of some tiles that have all of these scores, with their file's size and time of change."""
        marks = ",".join("?" * len(paths))
        known = {n for n, scores in self._revisions().items() if scores >= set(signatures)}
        rows = self.db.execute(f"SELECT path, bytes, modified, revision FROM tiles WHERE path IN ({marks})", paths)
        return {path: (size, modified) for path, size, modified, revision in rows if revision in known}

    def put(self, rows: Iterable[Row], signatures: Sequence[str]) -> None:
        """Write rows, all or none; a tile that is there already is replaced, further scores of it being kept if its
        file is the same.

        Args:
            rows: results.
            signatures: what was computed, one string for each score; see `done`. A row that is not final counts as if
                nothing was, so that it is tried again.
        """
        with self.transaction():
            for row in rows:
                found = self.db.execute(
                    "SELECT revision, bytes, modified FROM tiles WHERE path = ?", [row.path]
                ).fetchone()
                before: frozenset[str] = frozenset()
                if found and found[1:] == (row.bytes, row.modified):
                    before = self._revisions()[found[0]]
                elif found:
                    self.db.execute("DELETE FROM tiles WHERE path = ?", [row.path])
                self._put(row, self._revision(before | set(signatures) if row.final else frozenset()))

    def require_folder(self, folder: Path) -> None:
        """See that the table is of this folder: that one of up to 100 of its tiles, spread evenly, is there.

        Raises:
            UserError: this folder does not exist, or it is another one.
        """
        if not folder.is_dir():
            raise UserError("not a folder" if folder.exists() else "this folder does not exist", where=str(folder))
        last = self.db.execute("SELECT MAX(id) FROM tiles").fetchone()[0] or 0
        step = max(1, last // _LOOKED_FOR)
        for first in range(1, last + 1, step):
            (path,) = self.db.execute("SELECT path FROM tiles WHERE id >= ? ORDER BY id LIMIT 1", [first]).fetchone()
            if (folder / path).exists():
                return
        if last:
            raise UserError(
                f"is the table of another folder: {path}, for one, is not in {folder}",
                where=str(self.path),
                fix="Name the folder that was scored, or another table.",
            )

    def forget_missing(self, folder: Path) -> int:
        """Remove the rows whose file is gone; returns how many."""
        gone: list[str] = []
        for (path,) in self.db.execute("SELECT path FROM tiles"):
            if not (folder / path).exists():
                gone.append(path)
        with self.transaction():
            self.db.executemany("DELETE FROM tiles WHERE path = ?", ([path] for path in gone))
        return len(gone)

    def valued(self, column: str) -> int:
        """Tiles without error that have a value in a column."""
        return self.count(f'error IS NULL AND "{column}" IS NOT NULL')

    def quantile(self, column: str, position: int) -> float | None:
        """The value that has `position` of the `valued` tiles before it, least first; None beyond the last."""
        self.index(column)
        found = self.db.execute(
            f'SELECT "{column}" FROM tiles WHERE error IS NULL AND "{column}" IS NOT NULL '
            f'ORDER BY "{column}" LIMIT 1 OFFSET ?',
            [position],
        ).fetchone()
        return None if found is None else float(found[0])

    def _put(self, row: Row, revision: int) -> None:
        place = place_of(row.path)
        signed = None if row.hash is None else row.hash - (row.hash >> 63 << 64)
        values: dict[str, Any] = {
            **vars(place),
            "path": row.path,
            "height": row.height,
            "width": row.width,
            "hash": signed,
            "digest": row.digest,
            "bytes": row.bytes,
            "modified": row.modified,
            "error": row.error,
            "revision": revision,
            **row.scores,
        }
        names = ", ".join(f'"{name}"' for name in values)
        changed = ", ".join(f'"{name}" = excluded."{name}"' for name in values)
        self.db.execute(
            f"INSERT INTO tiles ({names}) VALUES ({','.join('?' * len(values))}) "
            f"ON CONFLICT (path) DO UPDATE SET {changed}",
            list(values.values()),
        )

    def _revisions(self) -> dict[int, frozenset[str]]:
        return {n: frozenset(json.loads(scores)) for n, scores in self.db.execute("SELECT id, scores FROM revisions")}

    def _revision(self, signatures: frozenset[str] | set[str]) -> int:
        """Number of a list of scores, noted where it is new."""
        text = json.dumps(sorted(signatures))
        found = self.db.execute("SELECT id FROM revisions WHERE scores = ?", [text]).fetchone()
        if found is None:
            return int(self.db.execute("INSERT INTO revisions (scores) VALUES (?)", [text]).lastrowid or 0)
        return int(found[0])


def shuffled(text: str, seed: int) -> int:
    """56 bits that order texts at random, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{text}".encode(), digest_size=7).digest())
