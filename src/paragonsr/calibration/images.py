"""The images that a calibration looks at: crops of the folder and of HR images, and what the files tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image as PillowImage

from paragonsr.calibration.jpeg_traces import LUMA_TABLE, scaled
from paragonsr.calibration.traits import SIDE
from paragonsr.data.images import read_image
from paragonsr.data.manifest import image_names, is_manifest, root_of
from paragonsr.data.walk import image_files
from paragonsr.degradation.base import Image
from paragonsr.errors import UserError
from paragonsr.resize import resize

Item = TypeVar("Item")

FEWEST = 8
"""Images without which nothing is fitted."""
MOST = 80
"""Images of the folder that are looked at."""
MOST_HR = 150
"""HR images that are used."""
CROPS = 4
"""Crops of one image."""
SHRUNK = 3
"""Factor by which images of the folder are downscaled where they stand for HR images: their flaws disappear."""
_GRID = 16


@dataclass(frozen=True)
class Jpeg:
    """What the header of a JPEG file tells."""

    quality: int
    subsampling: str


@dataclass(frozen=True)
class Folder:
    """Crops of the bad images, with the number of the image that each is from, and headers of the JPEG files."""

    images: int
    crops: tuple[Image, ...]
    owners: tuple[int, ...]
    jpegs: tuple[Jpeg, ...]
    formats: dict[str, int]


def read_folder(folder: Path) -> Folder:
    """Read the bad images.

    Raises:
        UserError: there are too few of at least SIDE pixels a side, or one cannot be read.
    """
    files = files_of(folder)
    if len(files) < FEWEST:
        raise UserError(
            f"has {len(files)} images, and a calibration needs at least {FEWEST}",
            where=str(folder),
            fix="Add more images of the same kind.",
        )
    crops: list[Image] = []
    owners: list[int] = []
    jpegs: list[Jpeg] = []
    formats: dict[str, int] = {}
    for number, file in enumerate(_spread(files, MOST)):
        found = cut(read_image(file), SIDE, CROPS)
        if not found:
            continue
        crops += found
        owners += [number] * len(found)
        kind, jpeg = header(file)
        formats[kind] = formats.get(kind, 0) + 1
        jpegs += [jpeg] if jpeg else []
    images = len(set(owners))
    if images < FEWEST:
        raise UserError(
            f"has {images} images of at least {SIDE} x {SIDE} pixels, and a calibration needs at least {FEWEST}",
            where=str(folder),
            fix="Add more images of the same kind.",
        )
    return Folder(images, tuple(crops), tuple(owners), tuple(jpegs), formats)


def files_of(root: Path) -> list[Path]:
    """Images of a folder, or of a manifest.

    Raises:
        UserError: there is no such folder, or the manifest is not valid.
    """
    if is_manifest(root):
        return sorted(root_of(root) / name for name in image_names(root))
    return sorted(root / name for name in image_files(root))


def read_hr(roots: Sequence[Path], scale: int) -> list[Image]:
    """Crops of HR images, from all images in turns.

    Raises:
        UserError: none is large enough.
    """
    files = [file for root in roots for file in files_of(root)]
    of_images = [cut(read_image(file), scale * SIDE, CROPS) for file in _spread(files, MOST_HR)]
    return _in_turns(of_images, f"no HR image has {scale * SIDE} x {scale * SIDE} pixels", str(roots[0]))


def shrunk_folder(folder: Path, scale: int) -> list[Image]:
    """Crops that stand for HR images: the images of the folder, downscaled.

    Raises:
        UserError: none is large enough.
    """
    of_images = []
    for file in _spread(files_of(folder), MOST):
        image = read_image(file)
        height, width = (side // SHRUNK for side in image.shape[:2])
        if min(height, width) >= scale * SIDE:
            of_images.append(cut(resize(image, (height, width)), scale * SIDE, CROPS))
    side = SHRUNK * scale * SIDE
    why = f"no image has {side} x {side} pixels, so that it could be downscaled to stand for an HR image"
    return _in_turns(of_images, why, str(folder), "Give clean images with --hr.")


def cut(image: Image, side: int, count: int) -> list[Image]:
    """Crops that are spread over an image, on multiples of 16 pixels; none if it is too small."""
    rows, columns = (range(0, length - side + 1, side) for length in image.shape[:2])
    places = [(top, left) for top in rows for left in columns]
    return [np.ascontiguousarray(image[y : y + side, x : x + side]) for y, x in _spread(places, count)]


def header(file: Path) -> tuple[str, Jpeg | None]:
    """Format of a file, and quality and subsampling of a JPEG by the table nearest to those of libjpeg."""
    with PillowImage.open(file) as opened:
        kind = opened.format or "unknown"
        if kind != "JPEG":
            return kind, None
        tables = opened.quantization  # type: ignore[attr-defined]
        layers = getattr(opened, "layer", [])
    table = np.array(tables[0], np.float64).reshape(8, 8)
    errors = [float(np.abs(scaled(LUMA_TABLE, quality) - table).sum()) for quality in range(1, 101)]
    sampling = {(1, 1): "444", (2, 1): "422", (2, 2): "420"}
    chosen = sampling.get(tuple(layers[0][1:3]), "420") if len(layers) == 3 else "444"
    return kind, Jpeg(1 + int(np.argmin(errors)), chosen)


def _in_turns(
    of_images: Sequence[Sequence[Image]], why: str, where: str, fix: str = "Give larger ones."
) -> list[Image]:
    found = [crops[turn] for turn in range(CROPS) for crops in of_images if len(crops) > turn]
    if not found:
        raise UserError(why, where=where, fix=fix)
    return found


def _spread(items: Sequence[Item], most: int) -> list[Item]:
    count = min(len(items), most)
    return [items[i * len(items) // count] for i in range(count)]
