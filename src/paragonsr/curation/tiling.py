"""Cutting photographs into tiles of one size, at several scales, without overlap."""

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
from paragonsr.data.resize import Image
from paragonsr.errors import UserError
from paragonsr.files import relative, write_atomically

RECORD = "tiling.json"
"""File in the folder of tiles that says what was cut and what was not."""

_LONGEST = 200
"""Bytes of a photograph's name: file systems take 255, and a tile's name, while it is written, has some 50 more."""


@dataclass(frozen=True)
class Tiled:
    """What became of one photograph."""

    source: str
    written: int = 0
    """Tiles that were cut now."""
    kept: int = 0
    """Tiles that were there already."""
    too_small_at: tuple[float, ...] = ()
    """Scales at which no tile fits in."""
    error: str = ""


@dataclass
class TilingRecord:
    """What became of all of them."""

    photographs: int = 0
    written: int = 0
    kept: int = 0
    too_small: dict[str, int] = field(default_factory=dict)
    """Scale -> photographs in which no tile fits."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Photograph -> what is wrong with it."""
    removed: int = 0
    """Tiles that were removed: their photograph is gone, or has no place for them any more."""

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
        """What the user is told."""
        yield f"{self.photographs} photographs: {self.written} tiles cut, {self.kept} there already"
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
    """Cut all photographs under a folder.

    A tile appears whole or not at all; a photograph whose tiles are all there and made from it as it is now is not
    decoded again, so that a call that was interrupted is finished by the next one, and a further call changes nothing.
    Tiles of photographs that are gone are removed.

    Args:
        source: folder of photographs, not changed.
        target: folder of tiles of these photographs alone, made where it does not exist; it also gets `tiling.json`,
            the record.
        options: side and scales.
        crew: who cuts.
        progress: is told how many photographs are done.

    Raises:
        UserError: there is no photograph, one folder contains the other, the target holds tiles of other photographs
            or of another side, or tiles cannot be written.
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
    """The record of a folder of tiles; None where `tile` did not make it, or not to the end."""
    written = _read(target)
    return TilingRecord(**written["result"]) if written and written["result"] else None


def tile_photographs(source: Path, target: Path, options: TileOptions, names: Sequence[str]) -> list[Tiled]:
    """Cut some photographs, in this process.

    Args:
        source: folder of photographs.
        target: folder of tiles.
        options: side and scales.
        names: paths relative to `source`.

    Raises:
        UserError: a tile cannot be written. What is wrong with a photograph is in its result.
    """
    return [_tile(source, target, options, name) for name in names]


def _claim(source: Path, target: Path, claim: dict[str, Any]) -> None:
    """Note of what and how the folder's tiles are cut, so that those of two ways are never mixed."""
    earlier = _read(target)
    if earlier and (earlier["side"] != claim["side"] or set(earlier["scales"]) - set(claim["scales"])):
        raise UserError(
            f"holds tiles of side {earlier['side']} at scales {earlier['scales']}",
            where=str(target),
            fix="Give the new tiles a folder of their own, or remove that one.",
        )
    if earlier and (target / earlier.get("source", claim["source"])).resolve() != source.resolve():
        raise UserError(
            f"holds tiles of the photographs in {(target / earlier['source']).resolve()}",
            where=str(target),
            fix=f"Give those of {source} a folder of their own, or link both into one; if the photographs were moved "
            f"there, remove {RECORD} from the folder of tiles, which are then found again.",
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
            fix="Remove it; the tiles are found again.",
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
    """See that tiles can be named after a photograph.

    Raises:
        UserError: its name is not UTF-8, which tables and manifests are written in, or too long.
    """
    try:
        length = len(os.path.basename(name).encode())
    except UnicodeEncodeError:
        raise UserError("its name is not UTF-8; rename it") from None
    if length > _LONGEST:
        raise UserError(f"its name has {length} bytes; {_LONGEST} leave room for the names of tiles; rename it")


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
    """Remove the tiles whose photograph is gone, and those of an earlier state of it that it has no place for now.

    Those of a photograph that cannot be read any more stay, and so does what is not a tile.
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
