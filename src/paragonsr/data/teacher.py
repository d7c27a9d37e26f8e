"""Output of a teacher on the LR images of a packed set: computed once, and memory-mapped next to the store.

    <store_root>/<images>-<teacher>/sr.bin      the teacher's images one after the other, each height x width x 3
                                    done.json   number of finished images

Both parts of the name are hashes: of the decoded images, and of the teacher. Images are computed in order, and each is
on disk before the next one starts, so that an interrupted packing continues where it stopped.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from paragonsr.data.decoding import Progress, unheard
from paragonsr.data.index import offsets
from paragonsr.data.lock import locked
from paragonsr.errors import UserError
from paragonsr.files import write_atomically
from paragonsr.resize import Image

if TYPE_CHECKING:
    from paragonsr.data.packed import PackedDataset

Upscale = Callable[[Image], Image]


class TeacherTargets:
    """A teacher's images, as views into a memory-mapped file.

    Args:
        file: sr.bin, complete.
        shapes: height and width of each image, N x 2.
        digest: hash of the teacher.
        share: share of the teacher's image in the training target, in (0, 1]; the rest is the HR image.
    """

    def __init__(self, file: Path, shapes: NDArray[np.int32], digest: str, share: float) -> None:
        self._shapes, self._offsets = shapes, offsets(shapes)
        self._samples: Image = np.asarray(np.memmap(file, np.uint8, mode="r"))
        self.digest, self.share = digest, share

    def image(self, index: int) -> Image:
        """Teacher's output for an LR image: height x width x 3 uint8 RGB, read-only."""
        return self._samples[self._offsets[index] : self._offsets[index + 1]].reshape(*self._shapes[index], 3)

    def mixed(self, hr: NDArray[np.uint8], sr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Mix HR patches with the teacher's by the share, rounded half to even; any equal shapes."""
        if self.share == 1:
            return sr
        return np.rint(hr + self.share * (sr.astype(np.float32) - hr)).astype(np.uint8)


def open_targets(
    root: Path,
    packed: "PackedDataset",
    digest: str,
    share: float,
    load: Callable[[], Upscale],
    progress: Progress = unheard,
) -> TeacherTargets:
    """Open a teacher's images for a packed set, computing those that are missing.

    If several processes need the same images, one computes them and the others wait.

    Args:
        root: folder of packed stores.
        packed: the set.
        digest: hash of the teacher, part of the folder's name.
        share: see `TeacherTargets`.
        load: returns the teacher, (h x w x 3) to (scale h x scale w x 3), uint8 RGB; called only if images are missing.
        progress: called with the number of images done and their total.

    Raises:
        UserError: the files cannot be written.
    """
    folder = root / f"{packed.content}-{digest[:16]}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / f"{folder.name}.lock"):
            folder.mkdir(exist_ok=True)
            if _done(folder) < len(packed):
                _make(folder, packed, load(), progress)
    except OSError as error:
        raise UserError(
            f"cannot write the teacher's images: {error.strerror}",
            where=str(folder),
            fix="Free some space, or choose another folder with datasets.train.store_root=/path.",
        ) from error
    return TeacherTargets(folder / "sr.bin", packed.shapes, digest, share)


def _make(folder: Path, packed: "PackedDataset", upscale: Upscale, progress: Progress) -> None:
    done, count = _done(folder), len(packed)
    begins = offsets(packed.shapes).tolist()
    with open(folder / "sr.bin", "r+b" if done else "w+b") as file:
        file.truncate(begins[-1])
        for index in range(done, count):
            progress(index, count)
            file.seek(begins[index])
            file.write(np.ascontiguousarray(upscale(packed.lq(index))).data)
            file.flush()
            os.fsync(file.fileno())
            write_atomically(folder / "done.json", json.dumps({"images": index + 1}).encode())
    progress(count, count)


def _done(folder: Path) -> int:
    """Number of finished images."""
    try:
        return int(json.loads((folder / "done.json").read_text(encoding="utf-8"))["images"])
    except (FileNotFoundError, ValueError, KeyError):
        return 0
