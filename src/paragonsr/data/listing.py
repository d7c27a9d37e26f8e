"""Listing of a large set, by which its packed store is found without walking over its folders.

    <store_root>/<options>.npz   folders (and manifests) of the set with their stamps, files with their sizes and times,
                                 the weights, and the key of the store

No name was added, removed or renamed as long as each folder has the same stamp as when it was read. That is known only
of a stamp that was older than the coarsest file times when the walk began (as git handles its index): otherwise a
change in the same tick would leave no trace, and no listing is written.

A file that was changed in place leaves no trace in its folder. The files are looked at while the run goes on: its
samples are the packed ones in any case. If any file has changed, the listing is removed, so that the next start walks.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paragonsr.data.arrays import Texts, read_arrays, write_arrays
from paragonsr.data.options import DatasetOptions, PairedOptions
from paragonsr.data.pairing import Pair, find_all, listed
from paragonsr.data.recipe import Recipe
from paragonsr.data.walk import Watched, stamp
from paragonsr.files import replacing

FEWEST_FILES = 50_000
"""Number of files from which a set has a listing; the folders and files of a smaller one are read at each start."""
COARSEST_TIME_NS = 2 * 10**9
"""Steps in which a file system may count its times (FAT)."""
LOOKED_AT_ONCE = 1024
"""Files between two checks of whether the look was stopped."""

Seen = NDArray[np.int64]
"""N x 2: size in bytes and modification time in ns of each file; -1 for a file that cannot be read."""


@dataclass(frozen=True)
class Files:
    """Files of a set as they are now."""

    pairs: list[Pair]
    watched: Watched
    began_ns: int
    """Time at which the walk began."""
    paths: list[str]
    """Absolute path of each HR and LR file."""
    seen: Seen

    @classmethod
    def found(cls, options: DatasetOptions, phase: str) -> "Files":
        """Walk over the folders of a set, and look at each file.

        Raises:
            UserError: as in `find_all`.
        """
        began = time.time_ns()
        found = find_all(options, phase)
        absolute = lru_cache(maxsize=4096)(os.path.abspath)
        paths = []
        for pair in found.pairs:
            for file in (pair.hr, pair.lq) if pair.lq else (pair.hr,):
                folder, name = os.path.split(file)
                paths.append(os.path.join(absolute(folder), name))
        return cls(found.pairs, found.watched, began, paths, _seen(paths))

    def key(self, recipe: Recipe) -> str:
        """Key of the store of these files.

        Their location is part of it too: sets unpacked from archives may share names, sizes and times but differ in
        content.
        """
        outside = hashlib.sha256(recipe.key.encode())
        for texts in ([pair.name for pair in self.pairs], self.paths):
            for text in (str(len(texts)), *texts):
                outside.update(text.encode("utf-8", "surrogatepass") + b"\0")
        outside.update(self.seen.tobytes())
        return outside.hexdigest()[:32]

    def write_listing(self, file: Path, store: str, weights: NDArray[np.float64] | None) -> None:
        """Write the listing of a large set, unless a folder has changed just now or the file cannot be written.

        Args:
            file: see `listing_file`.
            store: name of the store's folder.
            weights: of the images, if they come from manifests.
        """
        newest = max((max(times[:2]) for times in self.watched.values()), default=0)
        if len(self.paths) < FEWEST_FILES or newest > self.began_ns - COARSEST_TIME_NS:
            return
        folders, paths = Texts.of(self.watched), Texts.of(self.paths)
        arrays: dict[str, NDArray[Any]] = {
            "folders": folders.content,
            "folder_ends": folders.ends,
            "paths": paths.content,
            "ends": paths.ends,
        }
        arrays |= {"stamps": np.array(list(self.watched.values()), np.int64), "seen": self.seen}
        arrays["weights"] = np.empty(0) if weights is None else weights
        with suppress(OSError), replacing(file) as temporary, temporary.open("wb") as out:
            write_arrays(out, {"store": store}, arrays)


@dataclass(frozen=True)
class Listing:
    """A listing whose folders are as they were."""

    file: Path
    store: str
    """Name of the store's folder."""
    weights: NDArray[np.float64] | None

    def changed(self, stopped: Callable[[], bool] = lambda: False) -> list[str]:
        """Paths of the files that have changed in place; those found so far if it is stopped.

        Raises:
            OSError, ValueError: the listing cannot be read.
        """
        _, found = read_arrays(self.file, ("paths", "ends", "seen"))
        paths, changed = Texts(found["paths"], found["ends"]), []
        for first in range(0, len(paths), LOOKED_AT_ONCE):
            if stopped():
                break
            some = paths[first : first + LOOKED_AT_ONCE]
            differs = (_seen(some) != found["seen"][first : first + LOOKED_AT_ONCE]).any(axis=1)
            changed += [some[i] for i in np.flatnonzero(differs)]
        return changed

    def remove(self) -> None:
        """Remove the listing, so that the next start walks over the folders."""
        with suppress(OSError):
            self.file.unlink(missing_ok=True)


def listing_file(root: Path, options: DatasetOptions, recipe: Recipe) -> Path:
    """File of the listing of a set.

    Args:
        root: folder of the packed stores.
        options: of the set: its folders and how their files are matched.
        recipe: how its LR images are made.
    """
    roots = [options.hr_roots, options.lq_roots or []]
    template = options.filename_tmpl if isinstance(options, PairedOptions) else "{}"
    given = [os.getcwd(), roots, template, options.sample_weight, recipe.key]
    return root / f"{hashlib.sha256(json.dumps(given).encode()).hexdigest()[:32]}.npz"


def read_listing(file: Path) -> Listing | None:
    """Read a listing; None if there is none, or a folder has changed since."""
    try:
        header, found = read_arrays(file, ("folders", "folder_ends", "stamps", "weights"))
        folders, stamps = Texts(found["folders"], found["folder_ends"]), found["stamps"]
        if any(stamp(path) != tuple(then.tolist()) for path, then in zip(folders, stamps, strict=True)):
            return None
        return Listing(file, header["store"], found["weights"] if len(found["weights"]) else None)
    except (OSError, ValueError, KeyError):
        return None


@contextmanager
def looked_at(sets: Mapping[str, Listing | None], say: Callable[[str], None]) -> Iterator[None]:
    """Look at the files of large sets in a thread while the block runs.

    Args:
        sets: phase -> listing by which the store was found, if any.
        say: called, from the thread, with a message on each set of which files have changed.
    """
    stop = threading.Event()

    def look() -> None:
        for phase, listing in sets.items():
            if listing is None:
                continue
            with suppress(OSError, ValueError):
                changed = listing.changed(stop.is_set)
                if changed:
                    listing.remove()
                    say(changed_note(phase, changed))

    thread = threading.Thread(target=look, name="paragonsr-look", daemon=True)
    if any(sets.values()):
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread.ident is not None:
            thread.join()


def changed_note(phase: str, changed: Sequence[str]) -> str:
    """Warning about files that have changed since they were packed."""
    return (
        f"datasets.{phase}: {len(changed)} files have changed since they were packed ({listed(list(changed))}): "
        "this run uses the packed images, the next start packs them again"
    )


def _seen(paths: Iterable[str]) -> Seen:
    return np.fromiter((value for path in paths for value in _look(path)), np.int64).reshape(-1, 2)


def _look(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns
