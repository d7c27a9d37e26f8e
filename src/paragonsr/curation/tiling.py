"""Tiling of photographs: tiles of one size, at several scales, without overlap."""

import json
import os
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from paragonsr.curation.cluster import Crew, in_parallel
from paragonsr.curation.naming import Place, place_of, tile_name
from paragonsr.curation.options import TileOptions
from paragonsr.curation.photograph import Photograph, scaled_size
from paragonsr.curation.provenance import is_current, mark
from paragonsr.curation.walk import count_images, image_files, require_apart
from paragonsr.data.decoding import Progress
from paragonsr.data.images import image_size, write_png
from paragonsr.errors import UserError
from paragonsr.files import relative, write_atomically
from paragonsr.resize import Image

RECORD = "tiling.json"
"""File in the folder of tiles that records what was tiled and what was not."""

_LONGEST = 200
"""Maximum length of a photograph's name in bytes: file systems allow 255, and a tile's temporary name has about 50
more."""


@dataclass(frozen=True)
class Tiled:
    """Outcome of one photograph."""

    source: str
    written: int = 0
    """Number of new tiles."""
    kept: int = 0
    """Number of existing tiles."""
    too_small_at: tuple[float, ...] = ()
    """Scales at which the photograph is smaller than a tile."""
    error: str = ""


@dataclass
class TilingRecord:
    """Outcome of all photographs."""

    photographs: int = 0
    written: int = 0
    kept: int = 0
    too_small: dict[str, int] = field(default_factory=dict)
    """Scale -> number of photographs smaller than a tile."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Photograph -> what is wrong with it."""
    removed: int = 0
    """Number of removed tiles, whose photograph is gone or has become smaller."""

    def add(self, one: Tiled) -> None:
        """Count one photograph."""
        self.photographs += 1
        self.written += one.written
        self.kept += one.kept
        for scale in one.too_small_at:
            self.too_small[f"{scale:g}"] = self.too_small.get(f"{scale:g}", 0) + 1
        if one.error:
            self.unreadable[one.source] = one.error

    def lines(self) -> Iterator[str]:
        """Summary for the user."""
        yield f"{self.photographs} photographs: {self.written} tiles cut, {self.kept} already there"
        for scale, count in sorted(self.too_small.items(), reverse=True):
            yield f"  scale {scale}: {count} photographs are too small for a tile"
        if self.removed:
            yield f"  {self.removed} tiles removed, of photographs that were removed or became smaller"
        if self.unreadable:
            yield f"  {len(self.unreadable)} photographs cannot be read:"
        yield from (f"    {source}: {error}" for source, error in islice(sorted(self.unreadable.items()), 20))
        if len(self.unreadable) > 20:
            yield f"    and {len(self.unreadable) - 20} more, named in {RECORD}"


def tile(source: Path, target: Path, options: TileOptions, crew: Crew, progress: Progress) -> TilingRecord:
    """Tile all photographs under a folder.

    Tiles are written atomically, and a photograph whose tiles are complete and up to date is not decoded again. So the
    next call completes an interrupted one, and another call changes nothing. Tiles of photographs that are gone are
    removed.

    Args:
        source: folder of photographs, not changed.
        target: folder for tiles of only these photographs, created if needed; it also gets the record `tiling.json`.
        options: side and scales.
        crew: the worker processes.
        progress: called with the number of photographs done and their total.

    Raises:
        UserError: there are no photographs, one folder contains the other, the target contains tiles of other
            photographs or of another side, or tiles cannot be written.
    """
    require_apart(source, target)
    total = count_images(source)
    claim = {"source": relative(source, target), **options.model_dump()}
    _claim(source, target, claim)
    record = TilingRecord()
    work = partial(tile_photographs, source, target, options)
    one_each: Iterator[Sequence[str]] = ([name] for name in image_files(source))
    for results in in_parallel(crew, work, one_each, lambda name, why: [Tiled(name, error=why)]):
        for one in results:
            record.add(one)
            progress(record.photographs, total)
    if sum(1 for _ in image_files(target)) > record.written + record.kept:
        record.removed = _remove_stale(source, target, record.unreadable)
    _write_record(target, {**claim, "result": vars(record)})
    return record


def read_record(target: Path) -> TilingRecord | None:
    """Read the record of a folder of tiles; None if `tile` did not make or did not finish it."""
    written = _read(target)
    return TilingRecord(**written["result"]) if written and written["result"] else None


def tile_photographs(source: Path, target: Path, options: TileOptions, names: Sequence[str]) -> list[Tiled]:
    """Tile some photographs, in this process.

    Args:
        source: folder of photographs.
        target: folder of tiles.
        options: side and scales.
        names: paths relative to `source`.

    Raises:
        UserError: a tile cannot be written. Problems of a photograph are reported in its result.
    """
    return [_tile(source, target, options, name) for name in names]


def _claim(source: Path, target: Path, claim: dict[str, Any]) -> None:
    """Record source, side and scales of the folder's tiles, so that different ones are never mixed."""
    earlier = _read(target)
    if earlier and (earlier["side"] != claim["side"] or set(earlier["scales"]) - set(claim["scales"])):
        raise UserError(
            f"contains tiles of side {earlier['side']} at scales {earlier['scales']}",
            where=str(target),
            fix="Choose another folder for the new tiles, or remove this one.",
        )
    if earlier and (target / earlier.get("source", claim["source"])).resolve() != source.resolve():
        raise UserError(
            f"contains tiles of the photographs in {(target / earlier['source']).resolve()}",
            where=str(target),
            fix=f"Choose another folder for those of {source}, or link both sources into one. If the photographs were "
            f"moved, remove {RECORD} from the folder of tiles; existing tiles are then found again.",
        )
    try:
        target.mkdir(parents=True, exist_ok=True)
        _write_record(target, {**claim, "result": None})
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=str(target)) from error


def _read(target: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((target / RECORD).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(target / RECORD)) from error
    except ValueError as error:
        raise UserError(
            f"is not a record of tiles: {error}",
            where=str(target / RECORD),
            fix="Remove it; existing tiles are found again.",
        ) from error


def _write_record(target: Path, record: dict[str, Any]) -> None:
    write_atomically(target / RECORD, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode())


def _tile(source: Path, target: Path, options: TileOptions, name: str) -> Tiled:
    file, side = source / name, options.side
    try:
        _require_name(name)
        size = image_size(file)
        sizes = {scale: scaled_size(size, scale) for scale in options.scales}
        too_small = tuple(scale for scale, scaled in sizes.items() if min(scaled) < side)
        changed = file.stat().st_mtime_ns
        places = (place for scale in sizes for place in _places(name, scale, sizes[scale], side))
        missing = {place for place in places if not is_current(target / tile_name(place), changed)}
        planned = sum((h // side) * (w // side) for h, w in sizes.values())
        if not missing:
            return Tiled(name, kept=planned, too_small_at=too_small)
        photograph = Photograph(file)
    except UserError as error:
        return Tiled(_printable(name), error=error.what)

    def write(place: Place, pixels: Image) -> None:
        write_png(target / tile_name(place), pixels)
        mark(target / tile_name(place), changed)

    _cut(photograph, missing, side, write)
    return Tiled(name, len(missing), planned - len(missing), too_small)


def _require_name(name: str) -> None:
    """Check that tiles can be named after a photograph.

    Raises:
        UserError: its name is too long, or not UTF-8, the encoding of tables and manifests.
    """
    try:
        length = len(os.path.basename(name).encode())
    except UnicodeEncodeError:
        raise UserError("its name is not UTF-8; rename it") from None
    if length > _LONGEST:
        raise UserError(f"its name has {length} bytes, but the names of tiles allow only {_LONGEST}; rename it")


def _printable(name: str) -> str:
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _places(name: str, scale: float, size: tuple[int, int], side: int) -> Iterator[Place]:
    for top in range(0, size[0] - side + 1, side):
        for left in range(0, size[1] - side + 1, side):
            yield Place(name, scale, top, left)


def _cut(photograph: Photograph, places: set[Place], side: int, write: Callable[[Place, Image], None]) -> None:
    for scale in {place.scale for place in places}:
        for top, band in photograph.bands(scale, side):
            for place in (p for p in places if p.scale == scale and p.top == top):
                write(place, band[:, place.left : place.left + side])


def _remove_stale(source: Path, target: Path, unreadable: Container[str]) -> int:
    """Remove tiles whose photograph is gone, and those outside of a photograph that has become smaller.

    Tiles of a photograph that can no longer be read are kept, and so are files that are not tiles.
    """
    removed = 0
    for path in image_files(target):
        of = place_of(path).source
        if of == path or of in unreadable:
            continue
        try:
            stale = not is_current(target / path, (source / of).stat().st_mtime_ns)
        except FileNotFoundError:
            stale = True
        if stale:
            (target / path).unlink()
            removed += 1
    return removed
