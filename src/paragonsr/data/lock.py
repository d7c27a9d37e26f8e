"""A lock between processes that its owner's death releases."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if os.name == "nt":
    import msvcrt

    def _try(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
else:
    import fcntl

    def _try(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path, poll_seconds: float = 0.1) -> Iterator[None]:
    """Hold the lock file while the block runs; wait for it as long as another process lives and holds it.

    The lock is the operating system's, on an open file: a process that is killed leaves none behind.

    Raises:
        OSError: the file cannot be made.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        while True:
            try:
                _try(handle)
                break
            except OSError as error:
                if not isinstance(error, BlockingIOError | PermissionError):
                    raise
                time.sleep(poll_seconds)
        yield
    finally:
        os.close(handle)
