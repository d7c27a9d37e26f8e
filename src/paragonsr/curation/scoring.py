"""Scoring every tile of a folder: worker processes read and measure, this process alone writes the table."""

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
from paragonsr.data.resize import Image
from paragonsr.errors import UserError

Also = tuple[tuple[str, str | None], ...]
"""Further scores, each with its weights file."""

_LOOKED_UP = 256
"""Tiles whose rows are looked up by one query."""

_ROWS = 512
"""Rows after which a transaction is written."""
_SECONDS = 2.0
"""Seconds after which a transaction is written."""


@dataclass(frozen=True)
class Scored:
    """What became of a folder's tiles."""

    tiles: int
    """In the folder, and as many rows in the table."""
    new: int
    """Scored now."""
    errors: int
    """Rows with an error, of all."""
    forgotten: int
    """Rows removed because their file is gone."""

    def __str__(self) -> str:
        gone = f", {self.forgotten} rows of missing files removed" if self.forgotten else ""
        return f"{self.tiles} tiles: {self.new} scored now, {self.errors} with an error{gone}"


def score(folder: Path, table: Table, options: ScoreOptions, crew: Crew, progress: Progress) -> Scored:
    """Score the tiles of a folder that have no scores yet, or whose file changed since.

    A call that was interrupted, however roughly, is finished by the next one: rows are committed in batches, and what
    was not committed is scored again. Afterwards the table has exactly one row for each image of the folder. A row
    whose error may have passed (a process that died, a file that could not be opened) is tried again by the next call.

    Args:
        folder: tiles, or any images.
        table: is written by this process only.
        options: which scores.
        crew: who measures.
        progress: is told how many tiles are done.

    Raises:
        UserError: the folder holds no image, or one whose name is not UTF-8; the table is of another folder; a score's
            package or weights are missing; workers elsewhere do not see the folder.
    """
    folder = folder.absolute()  # workers elsewhere have another working directory
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
    """Have the further scores opened once by the crew, before anything is written.

    Raises:
        UserError: there is no such score, or its package or weights are missing.
    """
    also = _absolute(options)
    if _signatures(also) != list(SCORES):
        crew.submit(partial(score_tiles, Path(), also), []).result()


class Counter:
    """Counts tiles that are done and says so."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.count, self._total, self._progress = 0, total, progress

    def add(self, tiles: int) -> None:
        """So many more are done."""
        self.count += tiles
        self._progress(self.count, max(self.count, self._total))


def unscored(
    folder: Path, paths: Iterable[str], table: Table, signatures: Sequence[str], done: Counter
) -> Iterator[str]:
    """Those of the paths that must be scored; the others are counted as done."""
    for some in chunks(paths, _LOOKED_UP):
        known = table.done(some, signatures)
        todo = [path for path in some if known.get(path) != _outside(folder / path)]
        done.add(len(some) - len(todo))
        yield from todo


def record(table: Table, results: Iterable[list[Row]], signatures: Sequence[str], done: Counter) -> int:
    """Write rows as they come, many in one transaction; what came before an interruption is written too.

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
        one row for each path, in that order; what is wrong with an image is in its row.

    Raises:
        UserError: a score's package or weights are missing.
    """
    scorers = _scorers(also)
    return [_scored(folder, path, scorers) for path in paths]


def measured(path: str, outside: tuple[int, int], image: Image, scorers: dict[str, Callable[[Image], float]]) -> Row:
    """The row of a decoded tile.

    Args:
        path: relative to the folder.
        outside: size and time of change of the file.
        image: h x w x 3 uint8.
        scorers: further scores by name.
    """
    height, width = image.shape[:2]
    try:
        scores = score_image(image) | {name: scorer(image) for name, scorer in scorers.items()}
        wild = [name for name, value in scores.items() if not math.isfinite(value)]
        if wild:
            raise ValueError(f"{', '.join(wild)} cannot be computed of it")
        return Row(path, *outside, height, width, perceptual_hash(image), _digest(image), scores)
    except Exception as error:  # whatever a score stumbles over costs this tile, not the other ten million
        return Row(path, *outside, height, width, error=f"{type(error).__name__}: {error}", final=False)


def chunks(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """The items in lists of `size`; the last one may be shorter."""
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
    """Whether the cause lies outside the file: the system refused it, or memory ran out. Decoders set no `errno`."""
    return isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None)


def _outside(file: Path) -> tuple[int, int]:
    """Size and time of change; zeros where the file is gone (reading it then says so)."""
    try:
        stat = file.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _storable(folder: Path) -> int:
    """How many images there are; SQLite and JSON hold their names as UTF-8.

    Raises:
        UserError: there is none, or one has another name.
    """
    require_images(folder)
    count = 0
    for path in image_files(folder):
        count += 1
        try:
            path.encode()
        except UnicodeEncodeError:
            raise UserError(
                "its name is not UTF-8, so no table can hold it",
                where=ascii(str(folder / path)),
                fix="Rename it; convmv renames whole folders.",
            ) from None
    return count


def _absolute(options: ScoreOptions) -> Also:
    return tuple((name, weights and str(Path(weights).absolute())) for name, weights in sorted(options.also.items()))


@lru_cache(maxsize=1)
def _scorers(also: Also) -> dict[str, Callable[[Image], float]]:
    """Opened once in each process."""
    return {name: open_scorer(name, Path(weights) if weights else None) for name, weights in also}


def _signatures(also: Also) -> list[str]:
    """One string for each score that is to be computed; other weights are another score."""
    found = list(SCORES)
    for name, weights in also:
        if name in SCORES or name in FACTS:
            raise UserError(f"{name} is a column of the table already", where="also")
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
