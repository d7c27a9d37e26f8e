"""Walk over a folder of images, shared by training, curation and upscaling."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from paragonsr.data.image_file import ENDINGS
from paragonsr.errors import UserError

Stamp = tuple[int, int, int, int]
"""Modification and change time in ns, number and device of a folder or file; a folder's differs when an entry was
added, removed or renamed."""
Watched = dict[str, Stamp]
"""Absolute path -> stamp, of all that determines which image files a walk finds."""

ABSENT: Stamp = (0, 0, 0, 0)
_BITS = 2**63 - 1


def stamp(path: str | Path) -> Stamp:
    """Stamp of a folder or file; `ABSENT` if there is none, or it cannot be read."""
    try:
        stat = os.stat(path)
    except OSError:
        return ABSENT
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino & _BITS, stat.st_dev & _BITS


def image_files(root: Path, passed_over: Counter[str] | None = None, watched: Watched | None = None) -> Iterator[str]:
    """Paths of the image files under a folder, relative to it, with `/`; in no particular order.

    Links to folders are followed, and each folder is visited once. Names that begin with a dot are skipped, as are
    pipes and devices, since reading them may never end. A broken link counts as an image that cannot be read. Only the
    list of folders still to be visited is held in memory.

    Args:
        root: the folder.
        passed_over: counts the skipped files by extension in lower case ("" for none).
        watched: receives the stamp of each folder, taken before its entries are read, and of each skipped link.

    Raises:
        UserError: the folder does not exist, or a folder under it cannot be read.
    """
    if not root.is_dir():
        raise UserError("not a folder" if root.exists() else "this folder does not exist", where=str(root))
    seen: set[str] = set()
    waiting = [""]
    while waiting:
        here = waiting.pop()
        real = os.path.realpath(root / here)
        if real in seen:
            continue
        seen.add(real)
        if watched is not None:
            watched[os.path.abspath(root / here)] = stamp(root / here)
        try:
            with os.scandir(root / here) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        waiting.append(f"{here}{entry.name}/")
                    elif _is_image(entry):
                        yield here + entry.name
                    else:
                        if passed_over is not None:
                            passed_over[os.path.splitext(entry.name)[1].lower()] += 1
                        if watched is not None and entry.is_symlink():  # it may lead to a folder one day
                            watched[os.path.abspath(entry.path)] = stamp(entry.path)
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror}", where=str(root / here)) from error


def _is_image(entry: os.DirEntry[str]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in ENDINGS and (entry.is_file() or entry.is_symlink())


def described(passed_over: Counter[str]) -> str:
    """Skipped files by extension: "3 .txt, 1 without an extension"; empty for none."""
    return ", ".join(f"{count} {ending or 'without an extension'}" for ending, count in sorted(passed_over.items()))
