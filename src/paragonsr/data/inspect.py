"""Inspection of a set: opens every pair and reports problems, without training or writing anything."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paragonsr.data.decoding import Problem, Progress, for_each_pair, load_pair
from paragonsr.data.image_file import orientation
from paragonsr.data.index import DIGEST_BYTES
from paragonsr.data.manifest import read_weights
from paragonsr.data.mismatch import mismatch
from paragonsr.data.options import DatasetOptions
from paragonsr.data.pairing import Pair, match
from paragonsr.errors import UserError


@dataclass(frozen=True)
class Report:
    """Content and problems of a set."""

    phase: str
    images: int
    """Number of valid pairs."""
    problems: list[Problem]
    """Everything that must be fixed before training."""
    smallest: tuple[int, int]
    """Minimum height and minimum width of the HR images; (0, 0) without images."""
    largest: tuple[int, int]
    """Maximum height and maximum width of the HR images."""
    hr_pixels: int
    """Total number of HR pixels."""
    packed_bytes: int
    """Size of the packed store in bytes."""
    shapes: dict[str, tuple[int, int]]
    """Name -> height and width of the HR image."""
    digests: NDArray[np.uint8]
    """Hash of each decoded HR image, in the order of `shapes`: N x 16."""
    oriented: list[str]
    """HR files with an EXIF orientation, which is applied."""

    def __str__(self) -> str:
        size = f"{self.smallest[1]} x {self.smallest[0]} to {self.largest[1]} x {self.largest[0]} HR pixels"
        return (
            f"{self.phase}: {self.images} images, {size}, {self.hr_pixels / 1e6:.1f} million in total, "
            f"packed {self.packed_bytes / 1e6:.0f} MB"
        )


def check_dataset(options: DatasetOptions, scale: int, phase: str, progress: Progress | None = None) -> Report:
    """Decode every pair of a set.

    Args:
        options: `datasets.<phase>`.
        scale: HR side / LR side.
        phase: for messages.
        progress: called with the number of images done and their total.

    Raises:
        UserError: a folder is missing or empty, so there is nothing to check, or the degradation cannot be built.
    """
    degradation = options.degrades()
    if degradation is not None:
        degradation.build(scale=scale, seed=0)
    found = match(options, phase)
    looks, broken = for_each_pair(lambda _, pair: _look(pair, scale), found.pairs, progress)
    shapes = {i: look.shape for i, look in looks.items()}
    problems = [Problem(name, "shared by several files") for name in found.ambiguous]
    problems += [Problem(name, "has no LR image") for name in found.without_lr]
    problems += [Problem(name, "has no HR image") for name in found.without_hr]
    problems += broken
    problems += [Problem(found.pairs[i].name, look.mismatch) for i, look in sorted(looks.items()) if look.mismatch]
    if options.sample_weight is not None:
        try:
            read_weights(options.hr_roots, options.sample_weight)
        except UserError as error:
            problems.append(Problem(str(error.where), error.what))
    try:
        patch = options.lq_patch(scale) or 0
    except ValueError as error:
        problems.insert(0, Problem(f"datasets.{phase}.gt_size", str(error)))
        patch = 0
    for i, (height, width) in sorted(shapes.items()):
        if min(height, width) < patch:
            reason = f"LR {width} x {height} is smaller than lq_size {patch}"
            problems.append(Problem(found.pairs[i].name, reason))
    sizes = np.array(list(shapes.values()), int).reshape(-1, 2) * scale
    pixels = int(sizes.prod(axis=1).sum())
    least, most = (sizes.min(axis=0), sizes.max(axis=0)) if len(sizes) else (np.zeros(2, int),) * 2
    return Report(
        phase,
        images=len(shapes),
        problems=problems,
        smallest=(int(least[0]), int(least[1])),
        largest=(int(most[0]), int(most[1])),
        hr_pixels=pixels,
        packed_bytes=3 * (pixels + pixels // scale**2),
        shapes={found.pairs[i].name: (h * scale, w * scale) for i, (h, w) in shapes.items()},
        digests=np.frombuffer(b"".join(look.digest for look in looks.values()), np.uint8).reshape(-1, DIGEST_BYTES),
        oriented=[found.pairs[i].name for i, look in sorted(looks.items()) if look.oriented],
    )


@dataclass(frozen=True)
class _Look:
    """Information about a decoded pair."""

    shape: tuple[int, int]
    """Height and width of the LR image."""
    digest: bytes
    oriented: bool
    mismatch: str | None


def _look(pair: Pair, scale: int) -> _Look:
    hr, lq = load_pair(pair, scale)
    digest = hashlib.blake2b(repr(hr.shape).encode() + np.ascontiguousarray(hr).tobytes(), digest_size=DIGEST_BYTES)
    wrong = mismatch(hr, lq, scale) if pair.lq is not None else None
    return _Look((lq.shape[0], lq.shape[1]), digest.digest(), orientation(pair.hr) != 1, wrong)
