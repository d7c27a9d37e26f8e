"""A manifest: the chosen images of a folder, in one file that training takes in place of a folder.

A manifest is JSON Lines, so that it is written and read line by line whatever its length. The first line is the header
(where the images are, how they were chosen, how many there are, the fingerprint of the lines below it); every further
line is one image, sorted by path:

    {"format": 1, "root": "tiles", "where": "complexity >= 0.5", ..., "images": 2, "fingerprint": "..."}
    {"path": "a.png__1_0_0.png", "bytes": 402113, "digest": "...", "complexity": 0.53, ...}
"""

import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paragonsr.errors import UserError
from paragonsr.files import beside, relative, replacing

SUFFIX = ".jsonl"
"""Ending by which a manifest is told from a folder."""

KEPT = ".selection.jsonl"
"""Copy of the manifest in a folder that was made from it: what it names was put there by the selection."""

FORMAT = 1


def is_manifest(root: str | Path) -> bool:
    """Whether a data root names a manifest; any other is a folder."""
    return Path(root).suffix.lower() == SUFFIX


def chosen_by(root: str | Path) -> Path | None:
    """The manifest that a data root is, or that a folder was made from; None for any other folder."""
    kept = Path(root) / KEPT
    return Path(root) if is_manifest(root) else kept if kept.is_file() else None


def write_manifest(path: Path, root: Path, images: Iterable[dict[str, Any]], header: dict[str, Any]) -> dict[str, Any]:
    """Write a manifest, whole or not at all.

    Args:
        path: ends with .jsonl.
        root: folder of the images; noted relative to the manifest, so that both can move together.
        images: each with `path` (relative to the root, with `/`), `bytes` and whatever else; sorted by path.
        header: further facts.

    Returns:
        the header as it was written.

    Raises:
        UserError: it cannot be written.
    """
    body = beside(path)
    content, count = hashlib.sha256(), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=str(path)) from error
    try:
        with body.open("wb") as file:
            for image in images:
                line = json.dumps(image, ensure_ascii=False).encode() + b"\n"
                content.update(line)
                count += 1
                file.write(line)
        written = {"format": FORMAT, "root": relative(root, path.parent), **header}
        written |= {"images": count, "fingerprint": content.hexdigest()[:32]}
        with replacing(path) as whole, whole.open("wb") as file, body.open("rb") as lines:
            file.write(json.dumps(written, ensure_ascii=False).encode() + b"\n")
            shutil.copyfileobj(lines, file)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=str(path)) from error
    finally:
        body.unlink(missing_ok=True)
    return written


def read_header(path: Path) -> dict[str, Any]:
    """The first line of a manifest.

    Raises:
        UserError: this file does not exist, or it is not a manifest.
    """
    try:
        with path.open(encoding="utf-8") as file:
            header = json.loads(file.readline())
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']} instead of {FORMAT}")
        for key, kind in (("root", str), ("images", int), ("fingerprint", str)):
            if not isinstance(header[key], kind):
                raise ValueError(f"{key} is {header[key]!r}")
        return dict(header)
    except FileNotFoundError:
        fix = "Make it with: paragonsr data select EXPRESSION TILES --out MANIFEST"
        raise UserError("this manifest does not exist", where=str(path), fix=fix) from None
    except KeyError as error:
        raise UserError(f"is not a manifest: its first line has no {error}", where=str(path)) from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"is not a manifest: {error}", where=str(path)) from None


def read_images(path: Path) -> Iterator[dict[str, Any]]:
    """The images of a manifest, one after the other.

    Raises:
        UserError: it is not a manifest, or it was changed; the latter is known after the last image.
    """
    header = read_header(path)
    content, count = hashlib.sha256(), 0
    with path.open("rb") as file:
        file.readline()
        for line in file:
            content.update(line)
            count += 1
            try:
                yield _image(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise UserError(f"line {count + 1} cannot be read: {error}", where=str(path)) from None
    if (count, content.hexdigest()[:32]) != (header["images"], header["fingerprint"]):
        raise UserError(
            f"was changed after it was written ({count} images, {header['images']} noted)",
            where=str(path),
            fix="Make it again with paragonsr data select; how its images were chosen is noted in it.",
        )


def _image(entry: Any) -> dict[str, Any]:
    """An image of a manifest, whose path stays below the root.

    Raises:
        ValueError: it is not an image, or its path leads elsewhere.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
        raise ValueError("it has no path")
    inside = PurePosixPath(entry["path"])
    if inside.is_absolute() or ".." in inside.parts or PureWindowsPath(entry["path"]).drive or "\0" in entry["path"]:
        raise ValueError(f"the path {entry['path']!r} leads out of the folder of the images")
    if not isinstance(entry.get("bytes"), int):
        raise ValueError(f"{entry['path']} has no size in bytes")
    return entry


def root_of(path: Path) -> Path:
    """The folder that the paths of a manifest are relative to.

    Raises:
        UserError: as `read_header`.
    """
    return path.parent / read_header(path)["root"]


def image_paths(path: Path) -> list[Path]:
    """The files of a manifest.

    Raises:
        UserError: it cannot be trusted, or files are missing or have changed since they were scored.
    """
    root = root_of(path)
    files, troubles = [], []
    for image in read_images(path):
        file = root / image["path"]
        try:
            if file.stat().st_size != image["bytes"]:
                troubles.append(f"{image['path']} has changed")
        except OSError:
            troubles.append(f"{image['path']} is missing")
        files.append(file)
    if troubles:
        more = f" and {len(troubles) - 5} more" if len(troubles) > 5 else ""
        raise UserError(
            f"{len(troubles)} of {len(files)} images are not what was selected: {', '.join(troubles[:5])}{more}",
            where=str(path),
            fix=f"The images belong in {root}; score and select them again if they were replaced.",
        )
    return files


def read_weights(manifests: Sequence[str], name: str) -> NDArray[np.float64]:
    """A score of all images, in sampling order, as weights.

    Args:
        manifests: the HR roots of a set.
        name: of the score.

    Returns:
        one weight for each image, finite and not negative, at least one positive.

    Raises:
        UserError: a manifest does not hold the score, or its values are not weights.
    """
    found: list[float] = []
    for manifest in manifests:
        for image in read_images(Path(manifest)):
            value = image.get(name)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                known = [key for key, other in image.items() if isinstance(other, int | float) and key != "bytes"]
                what = f"has no {name!r}" if name not in image else f"has {name} {value}, which is not a weight"
                raise UserError(
                    f"{image['path']} {what}",
                    where=f"{manifest}, datasets.train.sample_weight",
                    fix=f"Take a score that is never negative: {', '.join(known)}.",
                )
            found.append(float(value))
    if not any(found):
        raise UserError(f"{name} is 0 for every image", where="datasets.train.sample_weight")
    return np.array(found)
