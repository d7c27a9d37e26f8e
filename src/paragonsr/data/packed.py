"""Packed store: all images of a set, decoded once, in two memory-mapped files of raw uint8 samples.

    <store_root>/<key>/hr.bin      the HR images one after the other, each height x width x 3
                       lr.bin      the LR images in the same way
                                   (empty if LR images are made during training)
                       index.json  names, LR sizes (everything else follows from them and the scale), digests

The key is a hash of the file metadata of the set (names, locations, sizes, modification times), the scale and the
format, so that a changed set gets a new store. A complete store appears by a single rename, and is never changed.
"""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from paragonsr.data.decoding import Progress, for_each_pair, load_hr, load_pair, lq_size, raise_problems, require_patch
from paragonsr.data.lock import locked
from paragonsr.data.manifest import chosen_by, read_header, read_weights
from paragonsr.data.options import DatasetOptions
from paragonsr.data.pairing import Pair, find_pairs
from paragonsr.data.teacher import TeacherTargets
from paragonsr.degradation.base import Degradation, DeviceDegradation
from paragonsr.errors import UserError
from paragonsr.resize import Image

FORMAT = 1
"""Version of the file layout and of everything that determines the samples in the files."""


class PackedDataset:
    """Images of a set, as views into memory-mapped files: reading a crop reads only its bytes.

    Attributes:
        names: names of the images, in sampling order; see `Pair.name`.
        scale: HR side / LR side.
        shapes: height and width of each HR image.
        lr_shapes: height and width of each LR image.
        fingerprint: hash of the decoded images and their order, independent of their names, files and locations, and
            of the weights, if there are any.
        manifests: fingerprints of the manifests that are the HR roots, or that these were created from, in order.
        weights: relative frequency of each image; None shows all equally often.
        teacher: output of a teacher on the LR images, if there is one; see `learn_from`.
    """

    manifests: tuple[str, ...] = ()
    teacher: TeacherTargets | None = None
    weights: NDArray[np.float64] | None = None

    def __init__(self, folder: Path) -> None:
        """Open a complete store.

        Raises:
            ValueError, OSError, KeyError: the store is incomplete or damaged.
        """
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.names: tuple[str, ...] = tuple(index["names"])
        self.scale: int = index["scale"]
        self.lr_shapes: tuple[tuple[int, int], ...] = tuple((h, w) for h, w in index["lr_shapes"])
        self.shapes = tuple((h * self.scale, w * self.scale) for h, w in self.lr_shapes)
        self.fingerprint: str = _fingerprint(index["digests"])
        self._digests: list[str] = index["digests"]
        if not len(self.names) == len(self.lr_shapes) == len(self._digests):
            raise ValueError(f"{folder} has an index of lists that differ in length")
        self._lq_offsets = _offsets(self.lr_shapes)
        self._hr_offsets = _offsets(self.shapes)
        self._hr = _mapped(folder / "hr.bin", self._hr_offsets[-1])
        self.holds_lq: bool = index.get("holds_lr", True)
        self._lq = _mapped(folder / "lr.bin", self._lq_offsets[-1]) if self.holds_lq else None

    def __len__(self) -> int:
        return len(self.names)

    def hr(self, index: int) -> Image:
        """HR image, cropped to a multiple of the scale: height x width x 3 uint8 RGB, read-only."""
        return self._hr[self._hr_offsets[index] : self._hr_offsets[index + 1]].reshape(*self.shapes[index], 3)

    def lq(self, index: int) -> Image:
        """LR image: height x width x 3 uint8 RGB, read-only.

        Raises:
            ValueError: the LR images of this set are made during training.
        """
        if self._lq is None:
            raise ValueError("this set contains no LR images: they are made during training")
        return self._lq[self._lq_offsets[index] : self._lq_offsets[index + 1]].reshape(*self.lr_shapes[index], 3)

    def note_choice(self, options: DatasetOptions) -> None:
        """Read manifests and weights as given by the options.

        Raises:
            UserError: a manifest does not contain the score used as weight.
        """
        chosen = filter(None, map(chosen_by, options.hr_roots))
        self.manifests = tuple(read_header(manifest)["fingerprint"] for manifest in chosen)
        if options.sample_weight is not None:
            self.weights = read_weights(options.hr_roots, options.sample_weight)
            self.fingerprint = _fingerprint([*self._digests, hashlib.sha256(self.weights.tobytes()).hexdigest()])

    @property
    def content(self) -> str:
        """Hash of only the decoded images and their order."""
        return _fingerprint(self._digests)

    def learn_from(self, teacher: TeacherTargets) -> None:
        """Add a teacher's output on the LR images as training target."""
        self.teacher = teacher
        self.fingerprint = _fingerprint([self.fingerprint, teacher.digest, repr(teacher.share)])

    def digests(self) -> dict[str, str]:
        """Name -> hash of the decoded HR and LR image at packing time."""
        return dict(zip(self.names, self._digests, strict=True))

    def damaged(self) -> list[str]:
        """Names of the images whose samples have changed since they were packed; reads everything."""
        return [name for i, name in enumerate(self.names) if self._digest(i) != self._digests[i]]

    def _digest(self, index: int) -> str:
        return _digest(self.hr(index), self.lq(index) if self.holds_lq else None)


def open_packed(options: DatasetOptions, scale: int, phase: str, progress: Progress | None = None) -> PackedDataset:
    """Open the packed store of a set, packing it first if needed.

    If several processes need the same store, one packs it and the others wait.

    Args:
        options: `datasets.<phase>`.
        scale: HR side / LR side.
        phase: for messages.
        progress: progress of the packing; not called if the store exists.

    Raises:
        UserError: folders or names are wrong (`find_pairs`), images are damaged, do not fit together or are smaller
            than the patch (all of them in one message), or the store cannot be written.
    """
    try:
        patch = options.lq_patch(scale)
    except ValueError as error:
        raise UserError(str(error), where=f"datasets.{phase}.gt_size") from error
    pairs = find_pairs(options, phase)
    recipe = Recipe.of(options, scale, phase)
    root = store_root(options)
    try:
        folder = root / _key(pairs, recipe)
        store = _reopened(folder)
        if store is None:
            root.mkdir(parents=True, exist_ok=True)
            with locked(root / f"{folder.name}.lock"):
                store = _reopened(folder) or _packed(pairs, recipe, folder, patch, phase, progress)
    except OSError as error:
        raise UserError(
            f"the packed images cannot be written: {error.strerror or error}",
            where=str(error.filename or root),
            fix=f"Choose another folder with datasets.{phase}.store_root=/path, or set PARAGONSR_CACHE.",
        ) from error
    require_patch(store.names, store.lr_shapes, patch, phase)
    store.note_choice(options)
    return store


def store_root(options: DatasetOptions) -> Path:
    """Folder of the packed stores."""
    chosen = options.store_root or os.environ.get("PARAGONSR_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "paragonsr" / "packed"


@dataclass(frozen=True)
class Recipe:
    """Source of the LR image of a pair."""

    scale: int
    degradation: Degradation | DeviceDegradation | None = None
    """Makes the LR image from the HR image; None if it is a file or made by the bicubic resize."""
    packs_lq: bool = True
    """False if LR images are made during training."""
    described: str = ""
    """Text that identifies the degradation; equal for equal degradations."""

    @classmethod
    def of(cls, options: DatasetOptions, scale: int, phase: str) -> "Recipe":
        """Recipe of a set; for a training set with a degradation, no LR images are packed.

        Raises:
            UserError: the degradation needs something that is not installed.
        """
        chosen = options.degrades()
        if chosen is None:
            return cls(scale)
        degradation = chosen.build(scale=scale, seed=0)  # for training, too: what is missing is said before packing
        if phase == "train":
            return cls(scale, packs_lq=False)
        return cls(scale, degradation, described=chosen.model_dump_json())

    def images(self, index: int, pair: Pair) -> tuple[Image, Image | None]:
        """HR and LR image of a pair; the LR image is None if it is made during training."""
        if self.packs_lq and self.degradation is None:
            return load_pair(pair, self.scale)
        hr = load_hr(pair, self.scale)
        return hr, degraded(self.degradation, hr, index) if self.degradation is not None else None


def degraded(degradation: Degradation | DeviceDegradation, hr: Image, sample: int) -> Image:
    """LR image made from one HR image by a degradation of either kind: h x w x 3 uint8 RGB."""
    if isinstance(degradation, Degradation):
        return degradation.degrade(hr, sample)
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(hr)).permute(2, 0, 1)[None].float() / 255
    lq = degradation.degrade(tensor, [sample])
    image: Image = lq[0].mul(255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return image


def _key(pairs: Sequence[Pair], recipe: Recipe) -> str:
    lr = recipe.described if recipe.packs_lq else "no LR"
    outside = hashlib.sha256(f"format {FORMAT}, scale {recipe.scale}{lr}".encode())
    for pair in pairs:
        for file in (pair.hr, pair.lq):
            seen: list[str | int] = [pair.name]
            if file is not None:
                stat = file.stat()
                # Location too: sets unpacked from archives may share names, sizes and times but differ in content.
                seen += [os.path.abspath(file), stat.st_size, stat.st_mtime_ns]
            outside.update(json.dumps(seen).encode())
    return outside.hexdigest()[:32]


def _reopened(folder: Path) -> PackedDataset | None:
    """Open the store in a folder; None if there is no valid one.

    The index is written last. A file that is newer than the index was copied, damaged or modified: then every image is
    checked once against its digest.
    """
    try:
        store = PackedDataset(folder)
        written = (folder / "index.json").stat().st_mtime_ns
        if any((folder / name).stat().st_mtime_ns > written for name in ("hr.bin", "lr.bin")):
            if store.damaged():
                return None
            with suppress(OSError):
                os.utime(folder / "index.json")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return store


def _packed(
    pairs: Sequence[Pair], recipe: Recipe, folder: Path, patch: int | None, phase: str, progress: Progress | None
) -> PackedDataset:
    """Pack all pairs into a new folder; the caller holds the lock."""
    scale = recipe.scale
    sizes, problems = for_each_pair(lambda _, pair: lq_size(pair, scale), pairs)
    if problems:
        # Check all samples too, so that one message names everything that must be fixed.
        _, deeper = for_each_pair(lambda _, pair: load_pair(pair, scale)[0].shape, pairs, progress)
        raise_problems(deeper or problems, pairs, phase)
    names = [pair.name for pair in pairs]
    shapes = [sizes[i] for i in range(len(pairs))]
    require_patch(names, shapes, patch, phase)
    _require_space(folder.parent, (recipe.packs_lq + scale**2) * _offsets(shapes)[-1], phase)
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        with open(partial / "hr.bin", "wb") as hr_file, open(partial / "lr.bin", "wb") as lr_file:
            writer = _Writer(hr_file, lr_file, shapes, scale)

            def pack(i: int, pair: Pair) -> str:
                hr, lr = recipe.images(i, pair)
                writer.write(i, hr, lr)
                return _digest(hr, lr)

            digests, problems = for_each_pair(pack, pairs, progress)
            raise_problems(problems, pairs, phase)
            for file in (hr_file, lr_file):
                _sync(file)
        index = {
            "format": FORMAT,
            "scale": scale,
            "holds_lr": recipe.packs_lq,
            "names": names,
            "lr_shapes": shapes,
            "digests": [digests[i] for i in range(len(pairs))],
        }
        with open(partial / "index.json", "wb") as file:
            file.write(json.dumps(index).encode())
            _sync(file)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return PackedDataset(folder)


class _Writer:
    """Writes images to their positions in the two files, from several threads."""

    def __init__(self, hr: BinaryIO, lr: BinaryIO, lr_shapes: Sequence[tuple[int, int]], scale: int) -> None:
        self._lq_offsets = _offsets(lr_shapes)
        self._hr_offsets = [scale**2 * offset for offset in self._lq_offsets]
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


def _offsets(shapes: Sequence[tuple[int, int]]) -> list[int]:
    """Byte offset of each image, and of the end of the last one."""
    offsets = [0]
    for height, width in shapes:
        offsets.append(offsets[-1] + 3 * height * width)
    return offsets


def _mapped(path: Path, size: int) -> Image:
    if path.stat().st_size != size:
        raise ValueError(f"{path} is truncated")
    return np.asarray(np.memmap(path, np.uint8, mode="r"))


def _digest(hr: Image, lr: Image | None) -> str:
    images = [hr] if lr is None else [hr, lr]
    content = hashlib.blake2b(repr(tuple(image.shape for image in images)).encode(), digest_size=16)
    for image in images:
        content.update(np.ascontiguousarray(image).data)
    return content.hexdigest()


def _fingerprint(digests: Sequence[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:32]


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
