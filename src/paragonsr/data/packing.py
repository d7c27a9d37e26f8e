"""Packing of a set: decodes all images, and writes the files of its store (see `paragonsr.data.packed`)."""

import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from paragonsr.data.decoding import Progress, for_each_pair, load_pair, lq_size, raise_problems, require_patch
from paragonsr.data.findings import Look, look_at
from paragonsr.data.index import StoreIndex, digest, offsets
from paragonsr.data.pairing import Pair
from paragonsr.data.recipe import Recipe
from paragonsr.errors import UserError
from paragonsr.files import sync
from paragonsr.resize import Image


def pack(
    pairs: Sequence[Pair], recipe: Recipe, folder: Path, patch: int | None, phase: str, progress: Progress | None
) -> None:
    """Pack all pairs into a new folder; the caller holds the lock.

    Raises:
        UserError: images are damaged, do not fit together or are smaller than the patch, or there is no space.
        OSError: the folder cannot be written.
    """
    scale = recipe.scale
    sizes, problems = for_each_pair(lambda _, pair: lq_size(pair, scale), pairs)
    if problems:
        # Check all samples too, so that one message names everything that must be fixed.
        _, deeper = for_each_pair(lambda _, pair: load_pair(pair, scale)[0].shape, pairs, progress)
        raise_problems(deeper or problems, pairs, phase)
    names = [pair.name for pair in pairs]
    shapes = np.array([sizes[i] for i in range(len(pairs))], np.int32).reshape(-1, 2)
    require_patch(names, shapes, patch, phase)
    _require_space(folder.parent, (recipe.packs_lq + scale**2) * int(offsets(shapes)[-1]), phase)
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        with open(partial / "hr.bin", "wb") as hr_file, open(partial / "lr.bin", "wb") as lr_file:
            writer = _Writer(hr_file, lr_file, shapes, scale)

            def write(i: int, pair: Pair) -> tuple[str, Look]:
                hr, lr = recipe.images(i, pair)
                writer.write(i, hr, lr)
                return digest(hr, lr), look_at(pair, hr, digest(hr, None), lr, scale)

            done, problems = for_each_pair(write, pairs, progress)
            raise_problems(problems, pairs, phase)
            for file in (hr_file, lr_file):
                sync(file)
        digests, looks = zip(*(done[i] for i in range(len(pairs))), strict=True)
        StoreIndex.of(scale, recipe.packs_lq, names, shapes, digests, looks).write(partial)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _Writer:
    """Writes images to their positions in the two files, from several threads."""

    def __init__(self, hr: BinaryIO, lr: BinaryIO, lr_shapes: NDArray[np.int32], scale: int) -> None:
        lq_offsets = offsets(lr_shapes)
        self._lq_offsets, self._hr_offsets = lq_offsets.tolist(), (scale**2 * lq_offsets).tolist()
        self._hr, self._lq, self._lock = hr, lr, threading.Lock()

    def write(self, index: int, hr: Image, lr: Image | None) -> None:
        hr_bytes = np.ascontiguousarray(hr).data
        with self._lock:
            self._hr.seek(self._hr_offsets[index])
            self._hr.write(hr_bytes)
            if lr is not None:
                self._lq.seek(self._lq_offsets[index])
                self._lq.write(np.ascontiguousarray(lr).data)


def _require_space(root: Path, needed: int, phase: str) -> None:
    free = shutil.disk_usage(root).free
    if needed > free:
        raise UserError(
            f"packing needs {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free",
            where=str(root),
            fix=f"Free some space, set datasets.{phase}.store_root=/path to another disk, or set PARAGONSR_CACHE.",
        )
