"""Table of scores: one SQLite file, one row per tile, a single writing process."""

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
"""Columns other than scores. (top, left, height, width) is the box in pixels of the scaled photograph; hash is the
perceptual hash as a signed integer; digest is the hash of the pixels; bytes and modified (ns) describe the file;
revision refers to the list of computed scores."""

_LOOKED_FOR = 100

_OUTSIDE = tuple(f"SQLITE_{name}" for name in "FULL IOERR BUSY READONLY CORRUPT NOTADB CANTOPEN PERM AUTH".split())
"""SQLite errors caused by the disk or another process."""

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
    """Data of one tile."""

    path: str
    """Path relative to the folder of tiles, with `/`."""
    bytes: int
    """Size of the file in bytes."""
    modified: int
    """Modification time of the file in ns."""
    height: int | None = None
    width: int | None = None
    hash: int | None = None
    """Perceptual hash, 64 bits, not negative."""
    digest: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    final: bool = True
    """False if a retry may give another result: the process died, or the file could not be opened."""


class Table:
    """Table with the scores of a folder of tiles.

    SQLite runs in WAL mode: if a process is killed, the table is as after the last committed batch. Any number of
    processes can read while one writes. The file must be on a local disk.

    Args:
        path: path of the SQLite file.
        create: create the file and its parent folders if they do not exist.

    Raises:
        UserError: the file does not exist, is not a table of scores, or cannot be written; at the end of a `with` block
            also errors caused by the disk or another process in the meantime.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        if not create and not path.is_file():
            raise UserError(
                "the table of scores does not exist", where=str(path), fix="Create it with: paragonsr data score"
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
                f"the table cannot be used: {error}",
                where=str(self.path),
                fix="Fix the cause, then run the same command to continue; data already written is kept.",
            ) from error

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Be the only scoring process while the block runs; waits for another one to finish."""
        with locked(self.path.with_name(f"{self.path.name}.lock")):
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Apply all of the block's changes, or none."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self.db.in_transaction:  # SQLite itself ends it if the disk is full
                self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def columns(self) -> list[str]:
        """Names of all columns."""
        return [name for _, name, *_ in self.db.execute("PRAGMA table_info(tiles)") if name != "id"]

    def score_names(self) -> list[str]:
        """Names of the columns with scores."""
        return [name for name in self.columns() if name not in FACTS]

    def count(self, where: str = "TRUE", parameters: Sequence[Any] = ()) -> int:
        """Number of tiles that meet an SQL condition."""
        return int(self.db.execute(f"SELECT COUNT(*) FROM tiles WHERE {where}", parameters).fetchone()[0])

    def require(self, scores: Sequence[str]) -> None:
        """Add missing columns of scores."""
        for name in scores:
            if name not in self.columns():
                self.db.execute(f'ALTER TABLE tiles ADD COLUMN "{name}" REAL')

    def index(self, column: str) -> None:
        """Create an index on a column, so that rows are found without a full scan."""
        self.db.execute(f'CREATE INDEX IF NOT EXISTS "tiles_by_{column}" ON tiles ("{column}")')

    def done(self, paths: Sequence[str], signatures: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Tiles among `paths` that have all of these scores, with the size and modification time of their files."""
        marks = ",".join("?" * len(paths))
        known = {n for n, scores in self._revisions().items() if scores >= set(signatures)}
        rows = self.db.execute(f"SELECT path, bytes, modified, revision FROM tiles WHERE path IN ({marks})", paths)
        return {path: (size, modified) for path, size, modified, revision in rows if revision in known}

    def put(self, rows: Iterable[Row], signatures: Sequence[str]) -> None:
        """Write rows, all or none; an existing tile is replaced, but its other scores are kept if the file is
        unchanged.

        Args:
            rows: results.
            signatures: one string per computed score; see `done`. A row that is not final counts as not computed, so
                that it is retried.
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
        """Check that the table belongs to this folder: of up to 100 tiles, spread evenly, at least one must exist.

        Raises:
            UserError: the folder does not exist, or is another one.
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
                f"is the table of another folder: for example, {path} is not in {folder}",
                where=str(self.path),
                fix="Give the folder that was scored, or another table.",
            )

    def forget_missing(self, folder: Path) -> int:
        """Remove the rows of missing files; returns their number."""
        gone: list[str] = []
        for (path,) in self.db.execute("SELECT path FROM tiles"):
            if not (folder / path).exists():
                gone.append(path)
        with self.transaction():
            self.db.executemany("DELETE FROM tiles WHERE path = ?", ([path] for path in gone))
        return len(gone)

    def valued(self, column: str) -> int:
        """Number of tiles without error that have a value in a column."""
        return self.count(f'error IS NULL AND "{column}" IS NOT NULL')

    def quantile(self, column: str, position: int) -> float | None:
        """Value at `position` among the `valued` tiles in ascending order; None beyond the last."""
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
        """Id of a list of scores; a new list is stored."""
        text = json.dumps(sorted(signatures))
        found = self.db.execute("SELECT id FROM revisions WHERE scores = ?", [text]).fetchone()
        if found is None:
            return int(self.db.execute("INSERT INTO revisions (scores) VALUES (?)", [text]).lastrowid or 0)
        return int(found[0])


def shuffled(text: str, seed: int) -> int:
    """56-bit hash that orders texts at random, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{text}".encode(), digest_size=7).digest())
