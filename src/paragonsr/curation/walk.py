"""The images under a folder, one after the other: never a list of all of them."""

import os
from collections.abc import Iterator
from pathlib import Path

from paragonsr.data.images import SUFFIXES
from paragonsr.errors import UserError


def image_files(root: Path) -> Iterator[str]:
    """Paths of the image files under a folder, relative to it, with `/`; in no particular order.

    Links to folders are followed, each folder is visited once, and names that begin with a dot are passed over, as are
    pipes and devices, whose reading may never end. A link that leads nowhere counts: it is an image that cannot be
    read. What is held in memory is the list of folders that are still to be visited.

    Raises:
        UserError: the folder does not exist or a folder under it cannot be read.
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
        try:
            with os.scandir(root / here) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        waiting.append(f"{here}{entry.name}/")
                    elif _is_image(entry):
                        yield here + entry.name
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror}", where=str(root / here)) from error


def _is_image(entry: os.DirEntry[str]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in SUFFIXES and (entry.is_file() or entry.is_symlink())


def count_images(root: Path) -> int:
    """How many images there are under a folder.

    Raises:
        UserError: as `image_files`, or there is none.
    """
    require_images(root)
    return sum(1 for _ in image_files(root))


def require_images(root: Path) -> None:
    """See that there is an image under a folder, before anything is written.

    Raises:
        UserError: as `image_files`, or there is none.
    """
    if next(image_files(root), None) is None:
        raise UserError(f"holds no image ({' '.join(sorted(SUFFIXES))})", where=str(root))


def require_apart(source: Path, target: Path) -> None:
    """See that what is made of a folder's images does not come to lie among them, where it would be taken for more.

    Raises:
        UserError: one folder is the other, or contains it.
    """
    here, there = source.resolve(), target.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise UserError(
            f"is {source}, or lies in it or around it; the output would be read as further input",
            where=str(target),
            fix="Choose a folder of its own.",
        )
