"""Whether a file was made from another one as that is now, told by the time of change that both share.

A made file gets its origin's time of change. "Newer than its origin" would not do: an origin that is replaced by an
older file (a restored backup, a copy that keeps its times) would go unnoticed, and one whose time lies in the future (a
camera's clock) would be worked on in every call.
"""

import os
from pathlib import Path

_KEPT = (1, 100, 10**3, 10**6, 10**7, 10**9, 2 * 10**9)
"""Units in ns in which file systems keep times: ext4, NTFS, ..., FAT."""


def mark(made: Path, origin_changed: int) -> None:
    """Give a made file the time of change of its origin, in ns."""
    os.utime(made, ns=(origin_changed, origin_changed))


def is_current(made: Path, origin_changed: int) -> bool:
    """Whether a file is there and was made from its origin as it is now; its origin's time of change is in ns."""
    try:
        kept = made.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    return any(kept == origin_changed // unit * unit for unit in _KEPT)
