"""Inspection of a set: opens every pair and reports problems, without training or writing anything."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paragonsr.data.decoding import Problem, Progress, for_each_pair, load_hr, load_pair
from paragonsr.data.findings import Findings, Look, look_at
from paragonsr.data.index import digest
from paragonsr.data.manifest import read_weights
from paragonsr.data.options import DatasetOptions
from paragonsr.data.packed import packed_before
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
    names: Sequence[str]
    """Names of the valid pairs."""
    shapes: NDArray[np.int32]
    """Height and width of the HR image of each: N x 2."""
    digests: NDArray[np.uint8]
    """Hash of each decoded HR image: N x 16."""
    oriented: list[str]
    """HR files with an EXIF orientation, which is applied."""

    def __str__(self) -> str:
        size = f"{self.smallest[1]} x {self.smallest[0]} to {self.largest[1]} x {self.largest[0]} HR pixels"
        return (
            f"{self.phase}: {self.images} images, {size}, {self.hr_pixels / 1e6:.1f} million in total, "
            f"packed {self.packed_bytes / 1e6:.0f} MB"
        )


def check_dataset(options: DatasetOptions, scale: int, phase: str, progress: Progress | None = None) -> Report:
    """Decode every pair of a set; if it is packed as its files are now, what was found then is read instead.

    Args:
        options: `datasets.<phase>`.
        scale: HR side / LR side.
        phase: for messages.
        progress: called with the number of images done and their total, if they are decoded.

    Raises:
        UserError: a folder is missing or empty, so there is nothing to check, or the degradation cannot be built.
    """
    degradation = options.degrades()
    if degradation is not None:
        degradation.build(scale=scale, seed=0)
    content = _packed(options, scale, phase) or _decoded(options, scale, phase, progress)
    names, shapes, found = content.names, content.lr_shapes, content.findings
    problems = content.problems + [Problem(names[i], reason) for i, reason in found.mismatches.items()]
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
    for i in np.flatnonzero(shapes.min(axis=1, initial=patch) < patch).tolist():
        height, width = shapes[i].tolist()
        problems.append(Problem(names[i], f"LR {width} x {height} is smaller than lq_size {patch}"))
    sizes = shapes * scale
    pixels = int(sizes.prod(axis=1, dtype=np.int64).sum())
    least, most = (sizes.min(axis=0), sizes.max(axis=0)) if len(sizes) else (np.zeros(2, int),) * 2
    return Report(
        phase,
        images=len(names),
        problems=problems,
        smallest=(int(least[0]), int(least[1])),
        largest=(int(most[0]), int(most[1])),
        hr_pixels=pixels,
        packed_bytes=3 * (pixels + pixels // scale**2),
        names=names,
        shapes=sizes,
        digests=found.hr_digests,
        oriented=[names[i] for i in found.oriented],
    )


@dataclass(frozen=True)
class _Content:
    """Valid pairs of a set, and what is wrong with its files."""

    names: Sequence[str]
    lr_shapes: NDArray[np.int32]
    """N x 2: height and width of each LR image."""
    findings: Findings
    problems: list[Problem]


def _packed(options: DatasetOptions, scale: int, phase: str) -> _Content | None:
    """Content of a set from its packed store, which exists only if all files are whole; None if there is none."""
    with suppress(UserError, OSError):  # whatever is wrong is found by decoding
        store = packed_before(options, scale, phase)
        if store is not None:
            return _Content(store.names, store.lr_shapes, store.findings, [])
    return None


def _decoded(options: DatasetOptions, scale: int, phase: str, progress: Progress | None) -> _Content:
    found = match(options, phase)
    looks, broken = for_each_pair(lambda _, pair: _look(pair, scale), found.pairs, progress)
    problems = [Problem(name, "shared by several files") for name in found.ambiguous]
    problems += [Problem(name, "has no LR image") for name in found.without_lr]
    problems += [Problem(name, "has no HR image") for name in found.without_hr]
    whole = sorted(looks)
    return _Content(
        [found.pairs[i].name for i in whole],
        np.array([looks[i][0] for i in whole], np.int32).reshape(-1, 2),
        Findings.of([looks[i][1] for i in whole]),
        problems + broken,
    )


def _look(pair: Pair, scale: int) -> tuple[tuple[int, int], Look]:
    """Height and width of the LR image, and information about a pair."""
    hr, lq = (load_hr(pair, scale), None) if pair.lq is None else load_pair(pair, scale)
    height, width = hr.shape[:2]
    return (height // scale, width // scale), look_at(pair, hr, digest(hr, None), lq, scale)
