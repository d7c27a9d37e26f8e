"""Degradation of a folder or a selection to LR images, with a table of what was drawn for each of them."""

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from paragonsr.curation.cluster import Crew, in_parallel
from paragonsr.curation.downscale import lr_name
from paragonsr.curation.provenance import is_current, mark
from paragonsr.curation.walk import image_files, require_apart, require_images
from paragonsr.data.decoding import Progress
from paragonsr.data.images import read_image, write_png
from paragonsr.data.manifest import is_manifest, read_images, root_of
from paragonsr.data.recipe import degraded
from paragonsr.degradation.base import AnyDegradation, Degradation, Parameters
from paragonsr.degradation.options import DegradationOptions
from paragonsr.errors import UserError
from paragonsr.files import write_atomically
from paragonsr.registry import import_plugins

MADE = ".degraded.json"
"""File in a folder of LR images that marks them as made by this tool, and says how."""
ROWS = ".degraded.jsonl"
"""File with one line for each LR image, in the order in which they were made."""
TABLE = "parameters.csv"
"""The same as a table, in the order of the images."""

_BATCH = 4


@dataclass(frozen=True)
class Recipe:
    """How LR images are made, in a form that can be sent to other processes."""

    plugins: tuple[str, ...]
    scale: int
    seed: int
    degradation: str
    """Options as JSON."""

    @classmethod
    def of(cls, degradation: DegradationOptions, scale: int, seed: int, plugins: Sequence[str] = ()) -> "Recipe":
        """Recipe of a degradation.

        Raises:
            UserError: it needs a library or a codec that is not installed.
        """
        degradation.build(scale=scale, seed=seed)
        return cls(tuple(plugins), scale, seed, degradation.model_dump_json())


@dataclass(frozen=True)
class Degraded:
    """Outcome of one HR image."""

    path: str
    number: int
    """Position in the folder, which is the sample index."""
    parameters: Parameters | None = None
    """None if nothing was made."""
    error: str = ""


def degrade(source: Path, target: Path, recipe: Recipe, crew: Crew, progress: Progress) -> tuple[int, int]:
    """Make the LR image of every HR image: a PNG of the same relative name, and the table `parameters.csv`.

    Image n in the order of the names is sample n, as in a validation set. An HR image is first cropped at the right and
    bottom to a multiple of the scale. Images that are up to date are kept, so that the next call completes an
    interrupted one, also after a crash.

    Args:
        source: folder of HR images, or a manifest.
        target: folder of LR images.
        recipe: how they are made.
        crew: the worker processes.
        progress: called with the number of images done and their total.

    Returns:
        number of images made, and number of all images.

    Raises:
        UserError: HR images cannot be read, or would have the same LR image name (all others are made); the target
            contains other images, or is inside the HR folder or contains it.
    """
    root, paths = _images(source)
    require_apart(root, target)
    _claim(target, recipe)
    known = _known_rows(target)
    waiting = [item for item in enumerate(paths) if not _is_done(root, target, item, known)]
    broken: list[Degraded] = []
    progress(len(paths) - len(waiting), len(paths))
    work = partial(degrade_images, root, target, recipe)
    batches = (waiting[start : start + _BATCH] for start in range(0, len(waiting), _BATCH))
    with (target / ROWS).open("a", encoding="utf-8") as rows:
        for results in in_parallel(crew, work, batches, lambda item, why: [Degraded(item[1], item[0], error=why)]):
            for result in results:
                if result.parameters is None:
                    broken.append(result)
                    continue
                known[result.path] = result
                rows.write(json.dumps([result.path, result.number, result.parameters]) + "\n")
            rows.flush()
            progress(len(known.keys() & set(paths)), len(paths))
    write_atomically(target / TABLE, _table([known[path] for path in paths if path in known]).encode())
    if broken:
        lines = "".join(f"\n  {result.path}: {result.error}" for result in broken[:20])
        raise UserError(f"{len(broken)} of {len(paths)} images have no LR image:{lines}", where=str(source))
    return len(waiting), len(paths)


def degrade_images(root: Path, target: Path, recipe: Recipe, items: Sequence[tuple[int, str]]) -> list[Degraded]:
    """Make some LR images, in this process; problems of an HR image are reported in its result.

    Raises:
        UserError: an LR image cannot be written.
    """
    return [_degrade(root / path, target / lr_name(path), recipe, path, number) for number, path in items]


def _degrade(hr: Path, lr: Path, recipe: Recipe, path: str, number: int) -> Degraded:
    try:
        changed = hr.stat().st_mtime_ns
        image = read_image(hr)
    except FileNotFoundError:
        return Degraded(path, number, error="does not exist")
    except UserError as error:
        return Degraded(path, number, error=error.what)
    height, width = (side // recipe.scale * recipe.scale for side in image.shape[:2])
    if not height or not width:
        why = f"{image.shape[1]} x {image.shape[0]} is smaller than the scale {recipe.scale}"
        return Degraded(path, number, error=why)
    degradation, whole = _built(recipe), image[:height, :width]
    if isinstance(degradation, Degradation):
        lq, parameters = degradation.explained(whole, number)
    else:
        lq, parameters = degraded(degradation, whole, number), {}
    write_png(lr, lq)
    mark(lr, changed)
    return Degraded(path, number, parameters)


@lru_cache(maxsize=1)
def _built(recipe: Recipe) -> AnyDegradation:
    import_plugins(recipe.plugins)
    given = json.loads(recipe.degradation)
    kind = DegradationOptions.choose(given["type"])
    assert kind is not None
    return kind.model_validate(given).build(scale=recipe.scale, seed=recipe.seed)


def _images(source: Path) -> tuple[Path, list[str]]:
    """Folder and relative paths of the HR images, in order."""
    if is_manifest(source):
        root, paths = root_of(source), [image["path"] for image in read_images(source)]
    else:
        require_images(source)
        root, paths = source, sorted(image_files(source))
    first: dict[str, str] = {}
    for path in paths:
        if first.setdefault(lr_name(path), path) != path:
            raise UserError(
                f"the LR images of {path} and {first[lr_name(path)]} would have the same name",
                where=str(source),
                fix="Rename one of them.",
            )
    return root, paths


def _claim(target: Path, recipe: Recipe) -> None:
    """Check that the folder is empty or was made by this tool in the same way, and mark it."""
    digest = hashlib.sha256(recipe.degradation.encode()).hexdigest()
    own = {"scale": recipe.scale, "seed": recipe.seed, "degradation": digest}
    note = target / MADE
    try:
        target.mkdir(parents=True, exist_ok=True)
        earlier = json.loads(note.read_text(encoding="utf-8")) if note.exists() else None
        if earlier == own:
            return
        if earlier is not None or next(image_files(target), None) is not None:
            which = "of another degradation, seed or scale" if earlier else "that were not made by this command"
            raise UserError(
                f"contains images {which}", where=str(target), fix="Choose another folder, or move them away."
            )
        write_atomically(note, json.dumps(own).encode())
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=str(target)) from error


def _known_rows(target: Path) -> dict[str, Degraded]:
    """Rows of an earlier call. A last line that a crash cut off is removed; its image will be made again."""
    file = target / ROWS
    if not file.exists():
        return {}
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        write_atomically(file, whole)
    rows = (json.loads(line) for line in whole.splitlines())
    return {path: Degraded(path, number, parameters) for path, number, parameters in rows}


def _is_done(root: Path, target: Path, item: tuple[int, str], known: dict[str, Degraded]) -> bool:
    number, path = item
    try:
        changed = (root / path).stat().st_mtime_ns
    except OSError:
        return False  # its error is reported with the others
    return path in known and known[path].number == number and is_current(target / lr_name(path), changed)


def _table(rows: Sequence[Degraded]) -> str:
    """CSV with a line for each image and a column for each parameter of any of them."""
    names = sorted({name for row in rows for name in row.parameters or {}}, key=_column)
    content = io.StringIO()
    writer = csv.DictWriter(content, ["image", "sample", *names], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({"image": lr_name(row.path), "sample": row.number} | (row.parameters or {}))
    return content.getvalue()


def _column(name: str) -> list[tuple[int, int | str]]:
    """Sorting key: steps by their numbers."""
    return list(_parts(name))


def _parts(name: str) -> Iterator[tuple[int, int | str]]:
    for part in name.split("."):
        yield (0, int(part)) if part.isdigit() else (1, part)
