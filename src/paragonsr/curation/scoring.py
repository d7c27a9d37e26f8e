"""Scoring of every tile of a folder: worker processes read and measure, only this process writes the table."""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

import numpy as np

from paragonsr.curation.cluster import Crew, in_parallel
from paragonsr.curation.options import ScoreOptions
from paragonsr.curation.scores.hashing import perceptual_hash
from paragonsr.curation.scores.optional import open_scorer
from paragonsr.curation.scores.registry import SCORES, score_image
from paragonsr.curation.table import FACTS, Row, Table
from paragonsr.curation.walk import image_files, require_images
from paragonsr.data.decoding import Progress
from paragonsr.data.images import read_image
from paragonsr.errors import UserError
from paragonsr.resize import Image

Also = tuple[tuple[str, str | None], ...]
"""Additional scores, each with its weights file."""

_LOOKED_UP = 256
"""Number of tiles that one query looks up."""

_ROWS = 512
"""Maximum number of rows per transaction."""
_SECONDS = 2.0
"""Maximum duration of a transaction, in seconds."""


@dataclass(frozen=True)
class Scored:
    """Outcome of scoring a folder."""

    tiles: int
    """Tiles in the folder, which equals the rows in the table."""
    new: int
    """Tiles scored in this call."""
    errors: int
    """Total number of rows with an error."""
    forgotten: int
    """Rows removed because their file is gone."""

    def __str__(self) -> str:
        gone = f", {self.forgotten} rows of missing files removed" if self.forgotten else ""
        return f"{self.tiles} tiles: {self.new} scored now, {self.errors} with an error{gone}"


def score(folder: Path, table: Table, options: ScoreOptions, crew: Crew, progress: Progress) -> Scored:
    """Score the tiles of a folder that have no scores yet, or whose files have changed.

    The next call completes an interrupted one: rows are committed in batches, and uncommitted tiles are scored again.
    Afterwards the table has exactly one row per image of the folder. Rows with a possibly temporary error (a process
    that died, a file that could not be opened) are retried by the next call.

    Args:
        folder: tiles, or any images.
        table: table of scores, written by this process only.
        options: the scores to compute.
        crew: the worker processes.
        progress: called with the number of tiles done and their total.

    Raises:
        UserError: the folder contains no images, or one whose name is not UTF-8; the table belongs to another folder; a
            score's package or weights are missing; workers on other machines cannot see the folder.
    """
    folder = folder.absolute()  # workers on other machines have another working directory
    crew.require_sight(folder)
    also = _absolute(options)
    signatures = _signatures(also)
    work, lost = partial(score_tiles, folder, also), partial(_lost, folder)
    with table.claimed():
        table.require_folder(folder)
        table.require([*SCORES, *options.also])
        done = Counter(_storable(folder), progress)
        todo = unscored(folder, image_files(folder), table, signatures, done)
        new = record(table, in_parallel(crew, work, chunks(todo, options.batch), lost), signatures, done)
        forgotten = table.forget_missing(folder) if table.count() > done.count else 0
    return Scored(done.count, new, table.count("error IS NOT NULL"), forgotten)


def require_scorers(options: ScoreOptions, crew: Crew) -> None:
    """Let the workers open the additional scores once, before anything is written.

    Raises:
        UserError: a score is unknown, or its package or weights are missing.
    """
    also = _absolute(options)
    if _signatures(also) != list(SCORES):
        crew.submit(partial(score_tiles, Path(), also), []).result()


class Counter:
    """Counts finished tiles and reports progress."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.count, self._total, self._progress = 0, total, progress

    def add(self, tiles: int) -> None:
        """Count more finished tiles."""
        self.count += tiles
        self._progress(self.count, max(self.count, self._total))


def unscored(
    folder: Path, paths: Iterable[str], table: Table, signatures: Sequence[str], done: Counter
) -> Iterator[str]:
    """Filter the paths that must be scored; the others are counted as done."""
    for some in chunks(paths, _LOOKED_UP):
        known = table.done(some, signatures)
        todo = [path for path in some if known.get(path) != _outside(folder / path)]
        done.add(len(some) - len(todo))
        yield from todo


def record(table: Table, results: Iterable[list[Row]], signatures: Sequence[str], done: Counter) -> int:
    """Write rows as they arrive, many per transaction; rows before an interruption are written, too.

    Returns:
        number of rows written.
    """
    waiting: list[Row] = []
    written, last = 0, time.monotonic()
    try:
        for rows in results:
            waiting += rows
            done.add(len(rows))
            if len(waiting) >= _ROWS or time.monotonic() - last > _SECONDS:
                table.put(waiting, signatures)
                written, last = written + len(waiting), time.monotonic()
                waiting = []
    finally:
        table.put(waiting, signatures)
    return written + len(waiting)


def score_tiles(folder: Path, also: Also, paths: Sequence[str]) -> list[Row]:
    """Read and measure some tiles, in this process.

    Returns:
        one row per path, in order; problems of an image are recorded in its row.

    Raises:
        UserError: a score's package or weights are missing.
    """
    scorers = _scorers(also)
    return [_scored(folder, path, scorers) for path in paths]


def measured(path: str, outside: tuple[int, int], image: Image, scorers: dict[str, Callable[[Image], float]]) -> Row:
    """Make the row of a decoded tile.

    Args:
        path: relative to the folder.
        outside: size and modification time of the file.
        image: h x w x 3 uint8.
        scorers: additional scores by name.
    """
    height, width = image.shape[:2]
    try:
        scores = score_image(image) | {name: scorer(image) for name, scorer in scorers.items()}
        wild = [name for name, value in scores.items() if not math.isfinite(value)]
        if wild:
            raise ValueError(f"{', '.join(wild)} cannot be computed for it")
        return Row(path, *outside, height, width, perceptual_hash(image), _digest(image), scores)
    except Exception as error:  # any failure of a score costs this tile, not the other ten million
        return Row(path, *outside, height, width, error=f"{type(error).__name__}: {error}", final=False)


def chunks(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Split items into lists of `size`; the last one may be shorter."""
    source = iter(items)
    while some := list(islice(source, size)):
        yield some


def _scored(folder: Path, path: str, scorers: dict[str, Callable[[Image], float]]) -> Row:
    outside = _outside(folder / path)
    try:
        image = read_image(folder / path)
    except UserError as error:
        return Row(path, *outside, error=error.what, final=not _may_pass(error.__cause__))
    return measured(path, outside, image, scorers)


def _lost(folder: Path, path: str, reason: str) -> list[Row]:
    return [Row(path, *_outside(folder / path), error=reason, final=False)]


def _may_pass(cause: BaseException | None) -> bool:
    """Whether the error may be temporary: the system refused access, or memory ran out. Decoders set no `errno`."""
    return isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None)


def _outside(file: Path) -> tuple[int, int]:
    """Size and modification time; zeros if the file is gone (reading it then reports that)."""
    try:
        stat = file.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _storable(folder: Path) -> int:
    """Count the images and check their names, which SQLite and JSON store as UTF-8.

    Raises:
        UserError: there are no images, or a name is not UTF-8.
    """
    require_images(folder)
    count = 0
    for path in image_files(folder):
        count += 1
        try:
            path.encode()
        except UnicodeEncodeError:
            raise UserError(
                "its name is not UTF-8, so it cannot be stored in a table",
                where=ascii(str(folder / path)),
                fix="Rename it; convmv renames whole folders.",
            ) from None
    return count


def _absolute(options: ScoreOptions) -> Also:
    return tuple((name, weights and str(Path(weights).absolute())) for name, weights in sorted(options.also.items()))


@lru_cache(maxsize=1)
def _scorers(also: Also) -> dict[str, Callable[[Image], float]]:
    """Open the additional scores, once per process."""
    return {name: open_scorer(name, Path(weights) if weights else None) for name, weights in also}


def _signatures(also: Also) -> list[str]:
    """One string per score to compute; different weights count as a different score."""
    found = list(SCORES)
    for name, weights in also:
        if name in SCORES or name in FACTS:
            raise UserError(f"{name} is already a column of the table", where="also")
        try:
            mark = f"@{hashlib.sha256(Path(weights).read_bytes()).hexdigest()[:16]}" if weights else ""
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror}", where=str(weights)) from error
        found.append(name + mark)
    return found


def _digest(image: Image) -> str:
    content = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    content.update(np.ascontiguousarray(image).data)
    return content.hexdigest()
