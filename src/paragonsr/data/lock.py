"""Lock between processes that is released when its owner dies.

It is the operating system's lock on an open file, so a killed process leaves no lock behind.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

if os.name == "nt":
    import msvcrt

    def _try(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]

    _look = _try
else:
    import fcntl

    def _try(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _look(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)


TRIES = 5
"""Attempts to take a lock: a process that only checks it holds it for an instant."""
PAUSE_SECONDS = 0.02
"""Time between two attempts."""


def claim(path: Path) -> int | None:
    """Lock the file until the handle is closed or this process ends; the file is created if needed.

    Returns:
        the handle; None if another process holds the lock.

    Raises:
        OSError: the file cannot be made.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    for _ in range(TRIES):
        if _succeeds(_try, handle):
            return handle
        time.sleep(PAUSE_SECONDS)
    os.close(handle)
    return None


def is_claimed(path: Path) -> bool:
    """Whether another process holds the lock; False if the file does not exist or may not be opened."""
    try:
        handle = os.open(path, os.O_RDWR)
    except (FileNotFoundError, PermissionError):
        return False
    try:
        return not _succeeds(_look, handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path, poll_seconds: float = 0.1) -> Iterator[None]:
    """Hold the lock while the block runs; wait as long as another live process holds it.

    Raises:
        OSError: the file cannot be made.
    """
    while (handle := claim(path)) is None:
        time.sleep(poll_seconds)
    try:
        yield
    finally:
        os.close(handle)


def _succeeds(lock: Callable[[int], None], handle: int) -> bool:
    try:
        lock(handle)
    except (BlockingIOError, PermissionError):
        return False
    return True
