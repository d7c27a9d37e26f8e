"""Decoding of image pairs: many file pairs in parallel, checked to fit together."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from paragonsr.data.images import image_size, read_image
from paragonsr.data.pairing import Pair, listed
from paragonsr.errors import UserError
from paragonsr.resize import Image, downscale

Progress = Callable[[int, int], None]
"""Progress callback, called with the number of images done and their total."""

Result = TypeVar("Result")


def unheard(done: int, total: int) -> None:
    """Progress callback that does nothing."""


@dataclass(frozen=True)
class Problem:
    """One file that cannot be used."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def lq_size(pair: Pair, scale: int) -> tuple[int, int]:
    """Height and width of a pair's LR image, read from the file headers.

    Raises:
        UserError: a header is damaged, the HR image is smaller than the scale, or the LR image is not HR // scale.
    """
    height, width = image_size(pair.hr)
    expected = (height // scale, width // scale)
    if min(expected) < 1:
        raise UserError(f"{width} x {height} is smaller than the scale {scale}", where=str(pair.hr))
    if pair.lq is not None:
        found = image_size(pair.lq)
        if found != expected:
            raise UserError(
                f"is {found[1]} x {found[0]}, but HR {width} x {height} at scale {scale} "
                f"needs LR {expected[1]} x {expected[0]}",
                where=str(pair.lq),
            )
    return expected


def load_pair(pair: Pair, scale: int) -> tuple[Image, Image]:
    """Decode a pair; the HR image is cropped at the right and bottom to a multiple of the scale.

    Returns:
        HR (s h x s w x 3) and LR (h x w x 3), uint8 RGB.

    Raises:
        UserError: as in `lq_size`, or a file is damaged.
    """
    hr = load_hr(pair, scale)
    lr = downscale(hr, scale) if pair.lq is None else read_image(pair.lq)
    return hr, lr


def load_hr(pair: Pair, scale: int) -> Image:
    """Decode the HR image of a pair, cropped at the right and bottom to a multiple of the scale.

    Raises:
        UserError: as in `lq_size`, or the file is damaged.
    """
    height, width = lq_size(pair, scale)
    return read_image(pair.hr)[: height * scale, : width * scale]


def for_each_pair(
    work: Callable[[int, Pair], Result], pairs: Sequence[Pair], progress: Progress | None = None
) -> tuple[dict[int, Result], list[Problem]]:
    """Process every pair, on all CPU cores; a pair that raises a `UserError` does not stop the others.

    Args:
        work: called with the index of a pair and the pair.
        pairs: all of them.
        progress: called from this thread.

    Returns:
        index -> result of the successful pairs, and the problems of the others in the order of the pairs.
    """
    results: dict[int, Result] = {}
    problems: dict[int, Problem] = {}
    with ThreadPoolExecutor(_cores(), thread_name_prefix="paragonsr-decode") as pool:
        positions = {pool.submit(work, i, pair): i for i, pair in enumerate(pairs)}
        try:
            for done, future in enumerate(as_completed(positions), 1):
                i = positions[future]
                try:
                    results[i] = future.result()
                except UserError as error:
                    problems[i] = Problem(error.where or pairs[i].name, error.what)
                if progress is not None:
                    progress(done, len(pairs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results, [problems[i] for i in sorted(problems)]


def raise_problems(problems: Sequence[Problem], pairs: Sequence[Pair], phase: str) -> None:
    """Report all problems of a set in one error.

    Raises:
        UserError: there is at least one problem.
    """
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise UserError(
            f"{len(problems)} of {len(pairs)} images cannot be used:{lines}",
            where=f"datasets.{phase}",
            fix="Replace or remove them; nothing was written.",
        )


def require_patch(names: Sequence[str], lr_shapes: NDArray[np.int32], patch: int | None, phase: str) -> None:
    """Check that a patch fits into every LR image (N x 2: height and width of each).

    Raises:
        UserError: some images are too small; the message names them.
    """
    if patch is None:
        return
    small = np.flatnonzero(lr_shapes.min(axis=1) < patch).tolist()
    if small:
        shown = [f"{names[i]} ({lr_shapes[i, 1]} x {lr_shapes[i, 0]})" for i in small]
        raise UserError(
            f"lq_size {patch} is larger than {len(small)} of {len(names)} LR images: {listed(shown)}",
            where=f"datasets.{phase}",
            fix=f"Set datasets.{phase}.lq_size={lr_shapes.min()} or less, or remove the small images.",
        )


def _cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
