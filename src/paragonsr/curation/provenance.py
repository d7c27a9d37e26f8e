"""Detection of outdated derived files: a file is current if it has the modification time of its source.

A derived file gets the modification time of its source. Checking for "newer than the source" would not be enough: a
source replaced by an older file (a restored backup, a copy that preserves times) would go unnoticed, and one with a
time in the future (a camera's clock) would be processed in every call.
"""

import os
from pathlib import Path

_KEPT = (1, 100, 10**3, 10**6, 10**7, 10**9, 2 * 10**9)
"""Resolutions of file times in ns: ext4, NTFS, ..., FAT."""


def mark(made: Path, origin_changed: int) -> None:
    """Set the modification time of a derived file to that of its source, in ns."""
    os.utime(made, ns=(origin_changed, origin_changed))


def is_current(made: Path, origin_changed: int) -> bool:
    """Whether a derived file exists and matches the modification time of its source, given in ns."""
    try:
        kept = made.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    return any(kept == origin_changed // unit * unit for unit in _KEPT)
