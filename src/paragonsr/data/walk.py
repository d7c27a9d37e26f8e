"""The one walk over a folder of images: for training, curation and upscaling."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from paragonsr.data.image_file import ENDINGS
from paragonsr.errors import UserError


def image_files(root: Path, passed_over: Counter[str] | None = None) -> Iterator[str]:
    """Paths of the image files under a folder, relative to it, with `/`; in no particular order.

    Links to folders are followed, each folder is visited once, and names that begin with a dot are passed over, as are
    pipes and devices, whose reading may never end. A link that leads nowhere counts: it is an image that cannot be
    read. What is held in memory is the list of folders that are still to be visited.

    Args:
        root: the folder.
        passed_over: counts the other files by their endings in lower case ("" for none).

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
                    elif passed_over is not None:
                        passed_over[os.path.splitext(entry.name)[1].lower()] += 1
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror}", where=str(root / here)) from error


def _is_image(entry: os.DirEntry[str]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in ENDINGS and (entry.is_file() or entry.is_symlink())


def described(passed_over: Counter[str]) -> str:
    """How many files of which endings were passed over: "3 .txt, 1 without an ending"; empty for none."""
    return ", ".join(f"{count} {ending or 'without an ending'}" for ending, count in sorted(passed_over.items()))
