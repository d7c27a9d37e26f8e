"""Atomic writing of files, and relative paths between files."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


def write_atomically(path: Path, data: bytes) -> None:
    """Write bytes to a file atomically; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def beside(path: Path) -> Path:
    """New hidden name in the folder of `path` for a temporary file; never longer than a file name may be."""
    return path.with_name(f".{secrets.token_hex(6)}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Context with a temporary file next to `path`; it replaces `path` when the block ends without an error.

    By fsync, rename and fsync of the folder, readers see either the old or the new file, even after a power failure.
    Files left behind by a killed process are named `.<random>.tmp`: short, so that `path` may use the full name length.
    """
    temporary = beside(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            sync(file)
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None or Path(error.filename) == temporary:
            error.filename = str(path)  # the target, not the temporary file
        raise
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sync(file: IO[Any]) -> None:
    """Wait until everything written to an open file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def relative(path: Path, start: Path) -> str:
    """Path relative to the folder `start`, with `/`, so that both can be moved together."""
    try:
        return Path(os.path.relpath(path.resolve(), start.resolve())).as_posix()
    except ValueError:  # on another drive
        return path.resolve().as_posix()
