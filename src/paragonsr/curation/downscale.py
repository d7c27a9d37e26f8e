"""Downscaling of a folder or a selection to LR images, by the MATLAB-exact bicubic resize."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from paragonsr.curation.cluster import Crew, in_parallel
from paragonsr.curation.provenance import is_current, mark
from paragonsr.curation.scoring import chunks
from paragonsr.curation.walk import count_images, image_files, require_apart
from paragonsr.data.decoding import Progress
from paragonsr.data.image_file import ENDINGS
from paragonsr.data.images import read_image, write_png
from paragonsr.data.manifest import is_manifest, read_header, read_images, root_of
from paragonsr.errors import UserError
from paragonsr.files import write_atomically
from paragonsr.resize import downscale as downscaled

MADE = ".downscaled.json"
"""File in a folder of LR images that marks them as made by this tool, and gives their scale."""

_BATCH = 16


@dataclass(frozen=True)
class Lower:
    """Outcome of one HR image."""

    path: str
    made: bool = False
    error: str = ""


def downscale(source: Path, target: Path, scale: int, crew: Crew, progress: Progress) -> tuple[int, int]:
    """Make the LR image of every HR image: a PNG of the same relative name.

    An HR image is first cropped at the right and bottom to a multiple of the scale. LR images that are up to date are
    kept, and those without an HR image are removed, so that the next call completes an interrupted one and follows a
    changed selection.

    Args:
        source: folder of HR images, or a manifest.
        target: folder of LR images.
        scale: downscaling factor.
        crew: the worker processes.
        progress: called with the number of images done and their total.

    Returns:
        number of images made, and number removed.

    Raises:
        UserError: HR images cannot be read, or would have the same LR image name (all others are made); the target
            contains other images, or is inside the HR folder or contains it.
    """
    root, total, names = _images(source)
    require_apart(root, target)
    _claim(target, scale)
    work = partial(downscale_images, root, target, scale)
    made, done, broken = 0, 0, list[Lower]()
    batches = chunks(names, _BATCH)
    for results in in_parallel(crew, work, batches, lambda path, why: [Lower(path, error=why)]):
        made += sum(result.made for result in results)
        broken += [result for result in results if result.error]
        done += len(results)
        progress(done, total)
    removed, left = _remove_orphans(source, root, target)
    if left + len(broken) < total:
        broken += _sharing_a_name(source)
    if broken:
        lines = "".join(f"\n  {result.path}: {result.error}" for result in broken[:20])
        raise UserError(f"{len(broken)} of {total} images have no LR image:{lines}", where=str(source))
    return made, removed


def downscale_images(root: Path, target: Path, scale: int, paths: Sequence[str]) -> list[Lower]:
    """Make some LR images, in this process; problems of an HR image are reported in its result.

    Raises:
        UserError: an LR image cannot be written.
    """
    return [_downscale(root / path, target / lr_name(path), scale, path) for path in paths]


def lr_name(path: str) -> str:
    """Relative path of an LR image: that of its HR image, with the extension .png."""
    return PurePosixPath(path).with_suffix(".png").as_posix()


def _downscale(hr: Path, lr: Path, scale: int, path: str) -> Lower:
    try:
        changed = hr.stat().st_mtime_ns
        if is_current(lr, changed):
            return Lower(path)
        image = read_image(hr)
    except FileNotFoundError:
        return Lower(path, error="does not exist")
    except UserError as error:
        return Lower(path, error=error.what)
    height, width = image.shape[0] // scale * scale, image.shape[1] // scale * scale
    if not height or not width:
        return Lower(path, error=f"{image.shape[1]} x {image.shape[0]} is smaller than the scale {scale}")
    write_png(lr, downscaled(image[:height, :width], scale))
    mark(lr, changed)
    return Lower(path, made=True)


def _images(source: Path) -> tuple[Path, int, Iterator[str]]:
    """Folder, number and relative paths of the HR images."""
    if is_manifest(source):
        return root_of(source), read_header(source)["images"], (image["path"] for image in read_images(source))
    return source, count_images(source), image_files(source)


def _claim(target: Path, scale: int) -> None:
    """Check that the folder is empty or was made by this tool at the same scale, and mark it."""
    note = target / MADE
    try:
        target.mkdir(parents=True, exist_ok=True)
        earlier = json.loads(note.read_text(encoding="utf-8"))["scale"] if note.exists() else None
        if earlier == scale:
            return
        if earlier is not None or next(image_files(target), None) is not None:
            what = f"LR images of scale {earlier}" if earlier else "images that were not made by this command"
            raise UserError(f"contains {what}", where=str(target), fix="Choose another folder, or move them away.")
        write_atomically(note, json.dumps({"scale": scale}).encode())
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=str(target)) from error


def _remove_orphans(source: Path, root: Path, target: Path) -> tuple[int, int]:
    """Remove LR images whose HR image is gone or no longer selected; returns the numbers removed and left."""
    chosen = {lr_name(image["path"]) for image in read_images(source)} if is_manifest(source) else None
    removed = left = 0
    for path in image_files(target):
        stem = (root / path).with_suffix("")
        has_hr = path in chosen if chosen is not None else _exists(stem)
        if has_hr:
            left += 1
        else:
            (target / path).unlink()
            removed += 1
    return removed, left


def _sharing_a_name(source: Path) -> list[Lower]:
    """HR images whose LR image would have the name of another one's, such as `a.jpg` and `a.png`."""
    first: dict[str, str] = {}
    return [
        Lower(path, error=f"its LR image would have the same name as that of {first[lr_name(path)]}")
        for path in sorted(_images(source)[2])
        if first.setdefault(lr_name(path), path) != path
    ]


def _exists(stem: Path) -> bool:
    return any(stem.with_name(stem.name + suffix).exists() for suffix in (".png", *ENDINGS))
