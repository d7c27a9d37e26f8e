"""Packed store: all images of a set, decoded once, in two memory-mapped files of raw uint8 samples.

    <store_root>/<key>/hr.bin      the HR images one after the other, each height x width x 3
                       lr.bin      the LR images in the same way
                                   (empty if LR images are made during training)
                       index.npz   names, LR sizes (everything else follows from them and the scale), digests

The key is a hash of the file metadata of the set (names, locations, sizes, modification times), the scale and the
format, so that a changed set gets a new store. A complete store appears by a single rename, and is never changed. The
key of a large set is looked up in a listing; see `paragonsr.data.listing`.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paragonsr.data import index
from paragonsr.data.decoding import Progress, require_patch
from paragonsr.data.listing import Files, Listing, listing_file, read_listing
from paragonsr.data.lock import locked
from paragonsr.data.manifest import chosen_by, read_header, read_weights
from paragonsr.data.options import DatasetOptions
from paragonsr.data.packing import pack
from paragonsr.data.recipe import Recipe
from paragonsr.data.teacher import TeacherTargets
from paragonsr.errors import UserError
from paragonsr.resize import Image


class PackedDataset:
    """Images of a set, as views into memory-mapped files: reading a crop reads only its bytes.

    Attributes:
        names: names of the images, in sampling order; see `Pair.name`.
        scale: HR side / LR side.
        shapes: height and width of each HR image, N x 2.
        lr_shapes: height and width of each LR image, N x 2.
        digests: hash of each decoded HR and LR image at packing time, N x 16 uint8.
        findings: what was found in the images when they were packed.
        content: hash of only the decoded images and their order.
        fingerprint: hash of the decoded images and their order, independent of their names, files and locations, and
            of the weights, if there are any.
        manifests: fingerprints of the manifests that are the HR roots, or that these were created from, in order.
        weights: relative frequency of each image; None shows all equally often.
        teacher: output of a teacher on the LR images, if there is one; see `learn_from`.
        listing: listing by which the store was found, whose files have not been looked at; None for any other store.
    """

    manifests: tuple[str, ...] = ()
    teacher: TeacherTargets | None = None
    weights: NDArray[np.float64] | None = None
    listing: Listing | None = None

    def __init__(self, folder: Path) -> None:
        """Open a complete store.

        Raises:
            ValueError, OSError: the store is incomplete or damaged.
        """
        found = index.StoreIndex.read(folder)
        self.names, self.scale, self.lr_shapes, self.digests = found.names, found.scale, found.lr_shapes, found.digests
        self.findings = found.findings
        self.shapes = self.lr_shapes * self.scale
        self.content = self.fingerprint = found.content
        self._lq_offsets = index.offsets(self.lr_shapes)
        self._hr_offsets = self._lq_offsets * self.scale**2
        self._hr = _mapped(folder / "hr.bin", self._hr_offsets[-1])
        self.holds_lq = found.holds_lq
        self._lq = _mapped(folder / "lr.bin", self._lq_offsets[-1]) if self.holds_lq else None

    def __len__(self) -> int:
        return len(self.names)

    def hr(self, position: int) -> Image:
        """HR image, cropped to a multiple of the scale: height x width x 3 uint8 RGB, read-only."""
        begin, end = self._hr_offsets[position : position + 2]
        return self._hr[begin:end].reshape(*self.shapes[position], 3)

    def lq(self, position: int) -> Image:
        """LR image: height x width x 3 uint8 RGB, read-only.

        Raises:
            ValueError: the LR images of this set are made during training.
        """
        if self._lq is None:
            raise ValueError("this set contains no LR images: they are made during training")
        begin, end = self._lq_offsets[position : position + 2]
        return self._lq[begin:end].reshape(*self.lr_shapes[position], 3)

    def note_choice(self, options: DatasetOptions, weights: NDArray[np.float64] | None) -> None:
        """Read manifests as given by the options, and weights if they are not known yet.

        Raises:
            UserError: a manifest does not contain the score used as weight.
        """
        chosen = filter(None, map(chosen_by, options.hr_roots))
        self.manifests = tuple(read_header(manifest)["fingerprint"] for manifest in chosen)
        if options.sample_weight is not None:
            self.weights = read_weights(options.hr_roots, options.sample_weight) if weights is None else weights
            self.fingerprint = index.fingerprint(self.digests, hashlib.sha256(self.weights.tobytes()).hexdigest())

    def learn_from(self, teacher: TeacherTargets) -> None:
        """Add a teacher's output on the LR images as training target."""
        self.teacher = teacher
        self.fingerprint = index.fingerprint_of(self.fingerprint, teacher.digest, repr(teacher.share))

    def damaged(self) -> list[str]:
        """Names of the images whose samples have changed since they were packed; reads everything."""
        return [name for i, name in enumerate(self.names) if self._digest(i) != self.digests[i].tobytes().hex()]

    def _digest(self, position: int) -> str:
        return index.digest(self.hr(position), self.lq(position) if self.holds_lq else None)


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
    recipe = Recipe.of(options, scale, phase)
    root = store_root(options)
    try:
        listing = read_listing(listing_file(root, options, recipe))
        store = _reopened(root / listing.store) if listing else None
        if listing is None or store is None:
            files = Files.found(options, phase)
            folder = root / files.key(recipe)
            store = _reopened(folder) or _packed(files, recipe, folder, patch, phase, progress)
            store.note_choice(options, None)
            files.write_listing(listing_file(root, options, recipe), folder.name, store.weights)
        else:
            store.listing = listing
            store.note_choice(options, listing.weights)
    except OSError as error:
        raise UserError(
            f"the packed images cannot be written: {error.strerror or error}",
            where=str(error.filename or root),
            fix=f"Choose another folder with datasets.{phase}.store_root=/path, or set PARAGONSR_CACHE.",
        ) from error
    require_patch(store.names, store.lr_shapes, patch, phase)
    return store


def packed_before(options: DatasetOptions, scale: int, phase: str) -> PackedDataset | None:
    """Open the packed store of a set as its files are now; None if there is none. Nothing is packed.

    Raises:
        UserError: as in `find_pairs`, or the degradation needs something that is not installed.
    """
    recipe, root = Recipe.of(options, scale, phase), store_root(options)
    listing = read_listing(listing_file(root, options, recipe))
    if listing is not None and not listing.changed():
        return _reopened(root / listing.store)
    return _reopened(root / Files.found(options, phase).key(recipe))


def _packed(
    files: Files, recipe: Recipe, folder: Path, patch: int | None, phase: str, progress: Progress | None
) -> PackedDataset:
    """Pack a set, or wait until another process has packed it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f"{folder.name}.lock")):
        store = _reopened(folder)
        if store is None:
            pack(files.pairs, recipe, folder, patch, phase, progress)
            store = PackedDataset(folder)
        return store


def store_root(options: DatasetOptions) -> Path:
    """Folder of the packed stores."""
    chosen = options.store_root or os.environ.get("PARAGONSR_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "paragonsr" / "packed"


def _reopened(folder: Path) -> PackedDataset | None:
    """Open the store in a folder; None if there is no valid one.

    The index is written last. A file that is newer than the index was copied, damaged or modified: then every image is
    checked once against its digest.
    """
    try:
        store = PackedDataset(folder)
        written = (folder / index.NAME).stat().st_mtime_ns
        if any((folder / name).stat().st_mtime_ns > written for name in ("hr.bin", "lr.bin")):
            if store.damaged():
                return None
            with suppress(OSError):
                os.utime(folder / index.NAME)
    except (OSError, ValueError):
        return None
    return store


def _mapped(path: Path, size: np.int64) -> Image:
    if path.stat().st_size != size:
        raise ValueError(f"{path} is truncated")
    return np.asarray(np.memmap(path, np.uint8, mode="r"))
