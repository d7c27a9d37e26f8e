"""Manifests: the selected images of a folder, listed in one file that training accepts in place of a folder.

A manifest is a JSON Lines file, so that it can be written and read line by line, whatever its length. The first line is
the header (where the images are, how they were selected, how many there are, the fingerprint of the following lines);
every other line is one image, sorted by path:

    {"format": 1, "root": "tiles", "where": "complexity >= 0.5", ..., "images": 2, "fingerprint": "..."}
    {"path": "a.png__1_0_0.png", "bytes": 402113, "digest": "...", "complexity": 0.53, ...}
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paragonsr.errors import UserError
from paragonsr.files import beside, relative, replacing

SUFFIX = ".jsonl"
"""Extension that distinguishes a manifest from a folder."""

KEPT = ".selection.jsonl"
"""Copy of the manifest in a folder that was created from it; it lists the files that the selection put there."""

FORMAT = 1


def is_manifest(root: str | Path) -> bool:
    """Whether a data root is a manifest; otherwise it is a folder."""
    return Path(root).suffix.lower() == SUFFIX


def chosen_by(root: str | Path) -> Path | None:
    """The manifest given as data root, or the one that a folder was created from; None for any other folder."""
    kept = Path(root) / KEPT
    return Path(root) if is_manifest(root) else kept if kept.is_file() else None


def write_manifest(path: Path, root: Path, images: Iterable[dict[str, Any]], header: dict[str, Any]) -> dict[str, Any]:
    """Write a manifest atomically.

    Args:
        path: output file, ending with .jsonl.
        root: folder of the images; stored relative to the manifest, so that both can be moved together.
        images: one entry each with `path` (relative to the root, with `/`), `bytes` and any other keys; sorted by path.
        header: additional header entries.

    Returns:
        the header as written.

    Raises:
        UserError: the file cannot be written.
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
    """Read the first line of a manifest.

    Raises:
        UserError: the file does not exist, or is not a manifest.
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
    """Read the images of a manifest, one after the other.

    Raises:
        UserError: the file is not a manifest, or was changed; the latter is detected after the last image.
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
            f"was changed after it was written ({count} images instead of {header['images']})",
            where=str(path),
            fix="Create it again with paragonsr data select; its header says how the images were selected.",
        )


def _image(entry: Any) -> dict[str, Any]:
    """Parse an image entry of a manifest; its path must stay below the root.

    Raises:
        ValueError: the entry is not an image, or its path leads out of the root.
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
    """Folder that the paths of a manifest are relative to.

    Raises:
        UserError: as in `read_header`.
    """
    return path.parent / read_header(path)["root"]


def image_names(path: Path) -> list[str]:
    """Files of a manifest, relative to its root, with `/`.

    Raises:
        UserError: the manifest is not valid, or files are missing or have changed since they were scored.
    """
    root = root_of(path)
    names, troubles = [], []
    for image in read_images(path):
        try:
            if os.stat(root / image["path"]).st_size != image["bytes"]:
                troubles.append(f"{image['path']} has changed")
        except OSError:
            troubles.append(f"{image['path']} is missing")
        names.append(PurePosixPath(image["path"]).as_posix())
    if troubles:
        more = f" and {len(troubles) - 5} more" if len(troubles) > 5 else ""
        raise UserError(
            f"{len(troubles)} of {len(names)} images are not what was selected: {', '.join(troubles[:5])}{more}",
            where=str(path),
            fix=f"The images belong in {root}; score and select them again if they were replaced.",
        )
    return names


def read_weights(manifests: Sequence[str], name: str) -> NDArray[np.float64]:
    """Read a score of all images, in sampling order, as weights.

    Args:
        manifests: the manifests given as HR roots of a set.
        name: name of the score.

    Returns:
        one weight per image, finite and not negative, at least one positive.

    Raises:
        UserError: a manifest does not contain the score, or its values are not valid weights.
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
                    fix=f"Use a score that is never negative: {', '.join(known)}.",
                )
            found.append(float(value))
    if not any(found):
        raise UserError(f"{name} is 0 for every image", where="datasets.train.sample_weight")
    return np.array(found)
