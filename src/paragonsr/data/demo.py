"""The images of `paragonsr demo`: photographs that scikit-image's wheel brings along, and generated dead leaves.

Every photograph is in the public domain or CC0, as the docstrings of `skimage.data` state (there are others in the
wheel whose licence is not stated or disputed; they are not used):

| file | licence | use |
|---|---|---|
| astronaut.png | public domain (NASA) | validation |
| coffee.png | CC0 (Rachel Michetti) | validation |
| chelsea.png | CC0 (Stefan van der Walt) | training |
| camera.png | CC0 (Lav Varshney) | training |
| brick.png, gravel.png | CC0 (cc0textures.com) | training |
| grass.png | CC0 (linolafett, DeviantArt) | training |
| hubble_deep_field.jpg | public domain (NASA) | training |
| retina.jpg | CC0 (Mikael Haeggstroem) | training |
| text.png | public domain (Wikipedia) | training |

A dead-leaves image (Lee, Mumford and Huang 2001, "Occlusion models for natural images: a statistical study of a
scale-invariant dead leaves model") is a pile of overlapping shapes whose sizes r are distributed as r^-3. It has the
occlusion edges of every orientation and contrast, the corners and the colours that the few photographs lack.
"""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paragonsr.data.images import read_image, write_png
from paragonsr.data.resize import Image, resize
from paragonsr.errors import UserError

VALIDATION = ("astronaut.png", "coffee.png")
"""Held out: no part of them is trained on."""

TRAINING: dict[str, tuple[float, ...]] = {
    "chelsea.png": (1, 0.7, 0.5),
    "camera.png": (1, 0.7, 0.5),
    "brick.png": (1, 0.5),
    "gravel.png": (1, 0.5),
    "grass.png": (1, 0.5),
    "hubble_deep_field.jpg": (0.5,),
    "retina.jpg": (0.25,),
    "text.png": (1,),
}
"""Photograph -> sizes in which it is shown. Reduced, a soft photograph becomes a sharp one; the JPEG files are only
shown reduced, so that no block edges are learned."""

TILES, TILE_SIDE = 16, 256
"""Number and side of the dead-leaves images."""

_OVERSAMPLED = 2
"""Leaves are painted so many times larger; the reduction smooths their edges as a camera does."""


def make_demo_images(folder: Path) -> None:
    """Write the training images to `folder/train` and the held-out photographs to `folder/val`, as PNG.

    What is there already is left alone, so that the packed store stays valid; every file appears complete or not at
    all, so that an interrupted call is finished by the next one.

    Raises:
        UserError: scikit-image is not installed or lacks a photograph, or the folder cannot be written.
    """
    for name, make in _images():
        if not (folder / name).exists():
            write_png(folder / name, make())


def dead_leaves(side: int, seed: int) -> Image:
    """A dead-leaves image: discs, ellipses and rectangles, shaded or striped, in front of each other.

    Args:
        side: height and width in pixels.
        seed: the same seed gives the same image.

    Returns:
        side x side x 3 uint8 RGB.
    """
    random = np.random.default_rng(seed)
    canvas = np.zeros((side * _OVERSAMPLED, side * _OVERSAMPLED, 3), np.float32)
    bare = np.ones(canvas.shape[:2], bool)
    while bare.any():
        _put_behind(canvas, bare, random)
    pixels = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return resize(pixels, (side, side))


def _put_behind(canvas: NDArray[np.float32], bare: NDArray[np.bool_], random: np.random.Generator) -> None:
    """Paint one leaf where the canvas is still bare: the pile is made from the top down."""
    side = len(bare)
    least, most = 6.0, side / 3
    # Inverse of the distribution function of a density ~ r^-3 between least and most.
    radius = (least**-2 - random.random() * (least**-2 - most**-2)) ** -0.5
    spot = random.integers(np.count_nonzero(bare)) if np.count_nonzero(bare) < bare.size / 20 else None
    if spot is None:
        y0, x0 = random.uniform(0, side, 2)
    else:
        y0, x0 = np.argwhere(bare)[spot]
    angle, flatness, square = random.uniform(0, np.pi), random.uniform(0.3, 1), random.random() < 0.4
    reach = radius * (1.42 if square else 1)
    rows = slice(max(0, int(y0 - reach)), min(side, int(y0 + reach) + 2))
    columns = slice(max(0, int(x0 - reach)), min(side, int(x0 + reach) + 2))
    y = (np.arange(rows.start, rows.stop) - y0)[:, None]
    x = (np.arange(columns.start, columns.stop) - x0)[None]
    u = (x * np.cos(angle) + y * np.sin(angle)) / radius
    v = (y * np.cos(angle) - x * np.sin(angle)) / (radius * flatness)
    inside = (np.maximum(abs(u), abs(v)) <= 1) if square else (u * u + v * v <= 1)
    here = inside & bare[rows, columns]
    grey, chroma = random.uniform(0, 255), random.normal(0, 25, 3)
    shade = random.normal(0, 20) * u + random.normal(0, 20) * v
    if random.random() < 0.25:
        shade = shade + random.uniform(5, 50) * np.sin(u * radius * random.uniform(0.2, 1.2))
    canvas[rows, columns][here] = (grey + chroma) + shade[here][:, None]
    bare[rows, columns] &= ~here


def _images() -> Iterator[tuple[str, Callable[[], Image]]]:
    """Path in the demo's folder, and how the image is made."""
    photographs = _photographs()
    for name in VALIDATION:
        yield f"val/{Path(name).stem}.png", lambda name=name: read_image(photographs / name)
    for name, sizes in TRAINING.items():
        for size in sizes:
            yield (
                f"train/{Path(name).stem}_{100 * size:.0f}.png",
                lambda name=name, size=size: _reduced(read_image(photographs / name), size),
            )
    for seed in range(TILES):
        yield f"train/leaves_{seed:02d}.png", lambda seed=seed: dead_leaves(TILE_SIDE, seed)


def _reduced(image: Image, factor: float) -> Image:
    height, width = image.shape[:2]
    return resize(image, (round(height * factor), round(width * factor)))


def _photographs() -> Path:
    """The folder of images in scikit-image's wheel."""
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise UserError(
            "the demo's photographs come with scikit-image, which is not installed", fix="pip install 'paragonsr[demo]'"
        )
    return Path(found.submodule_search_locations[0], "data")
