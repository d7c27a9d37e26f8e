"""LR images of a folder or a selection, by the MATLAB-exact bicubic resize."""

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
from paragonsr.data.resize import downscale as downscaled
from paragonsr.errors import UserError
from paragonsr.files import write_atomically

MADE = ".downscaled.json"
"""File in a folder of LR images that says that they were made here, and at which scale."""

_BATCH = 16


@dataclass(frozen=True)
class Lower:
    """What became of one HR image."""

    path: str
    made: bool = False
    error: str = ""


def downscale(source: Path, target: Path, scale: int, crew: Crew, progress: Progress) -> tuple[int, int]:
    """Make the LR image of every HR image: a PNG of the same relative name.

    An HR image is first cropped at the right and bottom to a multiple of the scale. LR images that were made from their
    HR image as it is now are kept, those that have lost their HR image are removed, so that an interrupted call is
    finished by the next one and a changed selection is followed.

    Args:
        source: folder of HR images, or a manifest.
        target: folder of LR images.
        scale: how many times smaller.
        crew: who works.
        progress: is told how many images are done.

    Returns:
        how many were made, and how many removed.

    Raises:
        UserError: HR images cannot be read, or share the name of their LR image (all others are made); the folder holds
            other images, or lies in that of the HR images or around it.
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
    """Make some LR images, in this process; what is wrong with an HR image is in its result.

    Raises:
        UserError: an LR image cannot be written.
    """
    return [_downscale(root / path, target / lr_name(path), scale, path) for path in paths]


def lr_name(path: str) -> str:
    """Relative path of an LR image: that of its HR image, ending in .png."""
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
    """See that the folder is empty or was made here at the same scale, and note that it is."""
    note = target / MADE
    try:
        target.mkdir(parents=True, exist_ok=True)
        earlier = json.loads(note.read_text(encoding="utf-8"))["scale"] if note.exists() else None
        if earlier == scale:
            return
        if earlier is not None or next(image_files(target), None) is not None:
            what = f"LR images of scale {earlier}" if earlier else "images that were not made here"
            raise UserError(f"holds {what}", where=str(target), fix="Choose another folder, or move them away.")
        write_atomically(note, json.dumps({"scale": scale}).encode())
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=str(target)) from error


def _remove_orphans(source: Path, root: Path, target: Path) -> tuple[int, int]:
    """Remove the LR images whose HR image is gone, or is not selected any more; how many these were, and are left."""
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
    """The HR images whose LR image is another one's: `a.jpg` beside `a.png`."""
    first: dict[str, str] = {}
    return [
        Lower(path, error=f"its LR image would have the name of that of {first[lr_name(path)]}")
        for path in sorted(_images(source)[2])
        if first.setdefault(lr_name(path), path) != path
    ]


def _exists(stem: Path) -> bool:
    return any(stem.with_name(stem.name + suffix).exists() for suffix in (".png", *ENDINGS))
