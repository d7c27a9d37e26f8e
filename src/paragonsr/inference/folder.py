"""Upscaling of files: planning, reading ahead, batching small images of equal size, and writing in the background."""

import itertools
import math
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paragonsr.data.image_file import ENDINGS
from paragonsr.data.walk import image_files
from paragonsr.errors import UserError
from paragonsr.inference.memory import is_out_of_memory
from paragonsr.inference.model import Tile, Upscaler
from paragonsr.inference.picture import FORMATS, Picture, Pixels

SMALL = 256 * 256
"""Maximum pixels of an image that is decoded ahead and batched with others of its size."""
TOGETHER = {"cpu": 2**15, "cuda": 2**17, "mps": 2**16}
"""Pixels of the LR images in one batch, by device. On a CPU, as with tiles, activations should stay in the cache: with
2**17, Stream took 1.5 times as long as with 2**14, while Nano was 13% faster than now."""
AHEAD = 64
"""Number of files that are opened ahead."""
WORKERS = 2
"""Number of threads that read, and of threads that write: libvips releases the GIL."""
IN_MEMORY = 2**28
"""Size of an SR image in bytes above which it is assembled in a temporary file."""


@dataclass(frozen=True)
class Job:
    """One file to upscale."""

    source: Path
    target: Path


@dataclass
class Summary:
    """Outcome of the jobs."""

    done: int = 0
    skipped: int = 0
    failed: dict[Path, str] = field(default_factory=dict)
    """File -> why it could not be upscaled."""
    megapixels: float = 0.0
    """Millions of pixels written."""
    under_way: float = 0.0
    """Finished share of the image that is being computed."""
    megapixels_under_way: float = 0.0
    """Finished SR pixels of that image, in millions."""


def plan(source: Path, out: Path, ending: str | None = None, passed_over: Counter[str] | None = None) -> list[Job]:
    """List every image of a file or folder tree with the path of its SR image, at the same relative path in `out`.

    Args:
        source: a file, or a folder, searched recursively. Files in `out` are not treated as sources.
        out: a folder, or for a single source also a file, whose extension selects the format.
        ending: extension of the SR images, such as ".png"; by default that of the source, or PNG if that cannot be
            written.
        passed_over: counts the files of a folder that are not images, by extension.

    Raises:
        UserError: there is nothing to upscale, or two images have the same target.
    """
    known = ", ".join(sorted(FORMATS))
    if ending is not None and ending not in FORMATS:
        raise UserError(f"{ending} cannot be written", where="--format", fix=f"Use one of {known}.")
    if source.is_file():
        if source.suffix.lower() not in ENDINGS:
            readable = ", ".join(sorted(ENDINGS))
            raise UserError("is not a readable image", where=str(source), fix=f"Supported formats: {readable}.")
        if not out.is_dir() and out.suffix:
            if ending is not None and out.suffix.lower() != ending:
                raise UserError(f"--format says {ending}, but the name says {out.suffix}", where=str(out))
            jobs = [Job(source, out)]
        else:
            jobs = [Job(source, _below(out, Path(source.name), ending))]
    elif source.is_dir():
        if out.is_file():
            raise UserError("is a file, but the input is a folder", where=str(out), fix="Give an output folder.")
        inside = None if out.resolve() == source.resolve() else out.resolve()
        files = sorted(source / name for name in image_files(source, passed_over))
        files = [file for file in files if inside not in file.resolve().parents]
        jobs = [Job(file, _below(out, file.relative_to(source), ending)) for file in files]
        if not jobs:
            raise UserError(f"contains no images ({', '.join(sorted(ENDINGS))})", where=str(source))
    else:
        raise UserError("does not exist", where=str(source))
    _check(jobs, known)
    return jobs


def _below(out: Path, name: Path, ending: str | None) -> Path:
    """Target of an image: the same relative path in `out`; PNG if its own format cannot be written (BMP, AVIF)."""
    own = name.suffix if name.suffix.lower() in FORMATS else ".png"
    return (out / name).with_suffix(ending or own)


def _check(jobs: Sequence[Job], known: str) -> None:
    taken: dict[Path, Path] = {}
    sources = {job.source.resolve() for job in jobs}
    for job in jobs:
        if job.target.suffix.lower() not in FORMATS:
            raise UserError(
                f"{job.target.suffix!r} cannot be written", where=str(job.target), fix=f"Use one of {known}."
            )
        if job.target.resolve() in sources:
            raise UserError("would overwrite an input image", where=str(job.target), fix="Choose another output.")
        other = taken.setdefault(job.target, job.source)
        if other != job.source:
            raise UserError(f"{other} and {job.source} would both become {job.target}", fix="Rename one of them.")


def upscale_files(
    upscaler: Upscaler,
    jobs: Sequence[Job],
    *,
    tile: Tile = "auto",
    overwrite: bool = False,
    progress: Callable[[Summary], None] = lambda summary: None,
) -> Summary:
    """Upscale files. If one fails, the error is recorded and the others are still processed.

    A target that is newer than its source is skipped; files are written atomically, so an existing file is complete.

    Args:
        upscaler: the network.
        jobs: result of `plan`.
        tile: as in `Upscaler.upscale`.
        overwrite: also redo finished images.
        progress: called after each file, and between rows of tiles of a large image.
    """
    summary = Summary()
    with (
        ThreadPoolExecutor(WORKERS, "read") as readers,
        ThreadPoolExecutor(WORKERS, "write") as writers,
    ):
        writing: deque[tuple[Job, float, Future[None]]] = deque()

        def settle(at_most: int) -> None:
            while len(writing) > at_most:
                job, megapixels, future = writing.popleft()
                try:
                    future.result()
                except UserError as error:
                    summary.failed[job.source] = f"{error.where} {error.what}"
                else:
                    summary.done += 1
                    summary.megapixels += megapixels
                progress(summary)

        def computed(share: float, megapixels: float) -> None:
            summary.under_way, summary.megapixels_under_way = share, share * megapixels
            progress(summary)

        for group in _groups(jobs, readers, upscaler, overwrite):
            if isinstance(group, Skipped):
                summary.skipped += 1
            elif isinstance(group, Failed):
                summary.failed[group.job.source] = group.why
            else:
                try:
                    images = _compute(upscaler, group, tile, computed)
                except (UserError, RuntimeError, MemoryError) as error:
                    if not isinstance(error, UserError) and not is_out_of_memory(error):
                        raise
                    why = error.what if isinstance(error, UserError) else "does not fit into memory, even in tiles"
                    summary.failed |= {job.source: why for job, _ in group}
                else:
                    for (job, picture), sr in zip(group, images, strict=True):
                        future = writers.submit(picture.save, sr, job.target)
                        writing.append((job, sr.shape[0] * sr.shape[1] / 1e6, future))
                    # A large image is written before the next one starts, so that memory holds only one.
                    settle(0 if images[0].nbytes > SMALL * 64 else AHEAD)
            computed(0, 0)
        settle(0)
    return summary


@dataclass(frozen=True)
class Skipped:
    """A job that was already finished."""


@dataclass(frozen=True)
class Failed:
    """A job whose source cannot be used."""

    job: Job
    why: str


Group = list[tuple[Job, Picture]]


def _groups(
    jobs: Sequence[Job], readers: ThreadPoolExecutor, upscaler: Upscaler, overwrite: bool
) -> Iterator[Group | Skipped | Failed]:
    """Group the jobs, roughly in order: large images alone, small ones with similar ones among the next `AHEAD`.

    The groups depend only on the files, not on how fast they are read: a group waits for the reads it considers. The
    next reads are started before the group is yielded, so that they overlap with its computation.
    """
    coming, together = iter(jobs), TOGETHER.get(upscaler.device.type, TOGETHER["cpu"])
    opened: deque[tuple[Job, Future[Picture | None]]] = deque()

    def read_ahead() -> None:
        for job in itertools.islice(coming, AHEAD - len(opened)):
            opened.append((job, readers.submit(_open, job, upscaler.scale, overwrite)))

    read_ahead()
    while opened:
        job, future = opened.popleft()
        try:
            picture = future.result()
        except UserError as error:
            found: Group | Skipped | Failed = Failed(job, error.what)
        else:
            found = Skipped() if picture is None else [(job, picture), *_take_mates(picture, opened, together)]
        read_ahead()
        yield found


def _take_mates(picture: Picture, opened: deque[tuple[Job, Future[Picture | None]]], together: int) -> Group:
    """Remove from the opened pictures those that can be batched with a picture, up to a total number of pixels.

    Waits for their reads to finish.
    """
    mates: Group = []
    if "pixels" not in vars(picture):
        return mates
    room = together // (picture.height * picture.width) - 1
    others = list(opened)
    opened.clear()
    for job, future in others:
        if len(mates) < room and future.exception() is None:
            mate = future.result()
            if mate is not None and _alike(mate, picture):
                mates.append((job, mate))
                continue
        opened.append((job, future))
    return mates


def _open(job: Job, scale: int, overwrite: bool) -> Picture | None:
    """Open the picture, and decode it if it is small; None if the job is already finished."""
    if not overwrite and job.target.exists() and job.target.stat().st_mtime >= job.source.stat().st_mtime:
        return None
    picture = Picture.open(job.source)
    picture.check_target(job.target, scale)
    if picture.height * picture.width <= SMALL:
        picture.pixels  # noqa: B018  decodes and keeps them
    return picture


def _alike(one: Picture, other: Picture) -> bool:
    return "pixels" in vars(one) and one.pixels.shape == other.pixels.shape and one.dtype == other.dtype


def _compute(upscaler: Upscaler, group: Group, tile: Tile, computed: Callable[[float, float], None]) -> list[Pixels]:
    """Compute the SR images in the dtype of their files; `computed` receives the finished share and the megapixels."""
    job, first = group[0]
    scale = upscaler.scale
    shape = (len(group), first.height * scale, first.width * scale, first.channels)
    out = _array(shape, np.dtype(first.dtype_in(job.target)), job.target.parent)
    batch = np.stack([picture.pixels for _, picture in group]) if "pixels" in vars(first) else None

    def read(rows: slice, columns: slice) -> np.ndarray:
        return first.read(rows, columns)[None] if batch is None else batch[:, rows, columns]

    def progress(share: float) -> None:
        computed(share, math.prod(shape[:3]) / 1e6)

    upscaler.upscale_into(out, read, first.height, first.width, tile=tile, progress=progress)
    return list(out)


def _array(
    shape: tuple[int, ...], dtype: np.dtype[np.uint8 | np.uint16], folder: Path
) -> NDArray[np.uint8 | np.uint16]:
    """Allocate in memory, or in an unnamed temporary file that disappears with the array, even after a crash."""
    size = math.prod(shape) * dtype.itemsize
    if size <= IN_MEMORY:
        return np.empty(shape, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < 2 * size:  # for the array and the file written from it
        raise UserError(f"the upscaled image needs {2 * size / 1e9:.1f} GB of free disk space", where=str(folder))
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(size)
        return np.memmap(file, dtype, "r+", shape=shape)
