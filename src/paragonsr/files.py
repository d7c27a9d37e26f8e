"""The one way a file is written: whole, or not at all; and how one file names another."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file by these bytes, whole or not at all; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def beside(path: Path) -> Path:
    """A new name in the same folder for what will become `path`: hidden, and never longer than a name may be."""
    return path.with_name(f".{secrets.token_hex(6)}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to be written; it takes its place when the block ends without an error.

    fsync, rename, fsync of the folder: a reader finds the old file or the new one, also after a power cut. What a
    killed process leaves behind is called `.<random>.tmp`: short, so that a name may have all the bytes it is allowed.
    """
    temporary = beside(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None or Path(error.filename) == temporary:
            error.filename = str(path)  # the file that was wanted, and not the one on its way there
        raise
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def relative(path: Path, start: Path) -> str:
    """A path as it is named, with `/`, in a file in the folder `start`, so that both can move together."""
    try:
        return Path(os.path.relpath(path.resolve(), start.resolve())).as_posix()
    except ValueError:  # on another drive
        return path.resolve().as_posix()
