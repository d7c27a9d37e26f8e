"""The folder of a selection: hard links to its tiles, or copies on another disk."""

import os
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from paragonsr.curation.walk import image_files, require_apart
from paragonsr.data.decoding import Progress
from paragonsr.data.lock import locked
from paragonsr.data.manifest import KEPT, read_header, read_images, root_of
from paragonsr.errors import UserError
from paragonsr.files import beside, write_atomically


def materialise(manifest: Path, target: Path, progress: Progress) -> tuple[int, int]:
    """Make a folder hold exactly the tiles of a manifest, under the same relative names.

    A further call, also after one that was interrupted, only does what is missing; tiles of an earlier selection that
    are not in this one are removed. Images that no selection wrote are never touched.

    Args:
        manifest: the selection.
        target: the folder.
        progress: is told how many tiles are there.

    Returns:
        how many tiles were added, and how many removed.

    Raises:
        UserError: the folder holds images that no selection wrote, lies in that of the tiles or around it, a tile
            is missing, or there is no room.
    """
    root, expected = root_of(manifest), read_header(manifest)["images"]
    require_apart(root, target)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with locked(target / ".lock"):
            removed = _remove_earlier(manifest, target)
            # Noted before it is made: what an interruption leaves behind is then known to be ours.
            write_atomically(target / KEPT, manifest.read_bytes())
            added = 0
            for done, image in enumerate(read_images(manifest), 1):
                added += _place(root / image["path"], target / image["path"])
                progress(done, expected)
            if sum(1 for _ in image_files(target)) > expected:
                _refuse(target, {image["path"] for image in read_images(manifest)})
            return added, removed
    except OSError as error:
        raise UserError(f"cannot be made: {error.strerror}", where=str(error.filename or target)) from error


def _remove_earlier(manifest: Path, target: Path) -> int:
    """Remove what an earlier selection put there and this one does not."""
    kept = target / KEPT
    if not kept.exists():
        _refuse(target, set())
        return 0
    removed = 0
    for path in _only_in_first(_paths(kept), _paths(manifest)):
        (target / path).unlink(missing_ok=True)
        removed += 1
    return removed


def _refuse(target: Path, ours: set[str]) -> None:
    """See that there are no images but ours.

    Raises:
        UserError: naming some of them.
    """
    foreign = list(islice((path for path in image_files(target) if path not in ours), 3))
    if foreign:
        raise UserError(
            f"holds images that no selection wrote: {', '.join(sorted(foreign))}, ...",
            where=str(target),
            fix="Move them away, or choose another folder.",
        )


def _paths(manifest: Path) -> Iterator[str]:
    return (image["path"] for image in read_images(manifest))


def _only_in_first(first: Iterator[str], second: Iterator[str]) -> Iterator[str]:
    """What only the first of two sorted sequences holds; neither is held in memory."""
    other = next(second, None)
    for path in first:
        while other is not None and other < path:
            other = next(second, None)
        if path != other:
            yield path


def _place(tile: Path, target: Path) -> bool:
    """Link or copy one tile; says whether that was needed."""
    stat = tile.stat()
    try:
        there = target.stat()
        if os.path.samestat(stat, there) or (stat.st_size, stat.st_mtime_ns) == (there.st_size, there.st_mtime_ns):
            return False
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(target)
    try:
        os.link(tile, temporary)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(tile, temporary)
    os.replace(temporary, target)
    return True
