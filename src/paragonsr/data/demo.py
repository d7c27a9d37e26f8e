"""Images of `paragonsr demo`: photographs from scikit-image's wheel, and generated dead-leaves images.

Every photograph is in the public domain or CC0, according to the docstrings of `skimage.data` (other images in the
wheel, whose licence is not stated or is disputed, are not used):

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
scale-invariant dead leaves model") is a pile of overlapping shapes whose sizes r follow r^-3. It contributes occlusion
edges of every orientation and contrast, corners, and colours that the few photographs lack.
"""

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paragonsr.data.images import read_image, write_png
from paragonsr.errors import UserError
from paragonsr.resize import Image, resize

VALIDATION = ("astronaut.png", "coffee.png")
"""Held-out photographs: no part of them is used for training."""

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
"""Photograph -> sizes in which it is used. Downscaling makes a soft photograph sharp; the JPEG files are only used
downscaled, so that no block edges are learned."""

TILES = 12
"""Number of dead-leaves images."""
TILE_SIDE = 256
"""Side of the dead-leaves images in pixels."""

_OVERSAMPLED = 2
"""Factor by which leaves are painted larger; downscaling smooths their edges like a camera does."""

_RADII = 3.0, 80.0
"""Minimum and maximum radius of a leaf, in the pixels of the canvas it is painted on."""


def make_demo_images(folder: Path) -> None:
    """Write the training images to `folder/train` and the held-out photographs to `folder/val`, as PNG.

    Existing files are not touched, so that the packed store stays valid. Every file is written atomically, so that the
    next call completes an interrupted one.

    Raises:
        UserError: scikit-image is not installed or lacks a photograph, or the folder cannot be written.
    """
    for name, make in _images():
        if not (folder / name).exists():
            write_png(folder / name, make())


def dead_leaves(side: int, seed: int) -> Image:
    """Make a dead-leaves image: overlapping ellipses and rectangles, shaded or striped.

    Args:
        side: height and width in pixels.
        seed: the same seed gives the same image.

    Returns:
        side x side x 3 uint8 RGB.
    """
    random = np.random.default_rng(seed)
    canvas = np.zeros((side * _OVERSAMPLED, side * _OVERSAMPLED, 3), np.float32)
    bare = np.ones(canvas.shape[:2], bool)
    left = bare.size
    while left > bare.size // 50:
        radius = _leaf_radius(random, *_RADII)
        centre = random.uniform(0, len(bare), 2)
        left -= _put_behind(canvas, bare, centre, radius, random)
    # One leaf larger than the canvas ends the pile: random leaves would take long to cover the last bare spots.
    _put_behind(canvas, bare, np.zeros(2), 10.0 * len(bare), random)
    return resize(np.clip(np.rint(canvas), 0, 255).astype(np.uint8), (side, side))


def _leaf_radius(random: np.random.Generator, least: float, most: float) -> float:
    """Draw a radius from the density r^-3, by inverting its distribution function."""
    share = random.random()
    return float((least**-2 - share * (least**-2 - most**-2)) ** -0.5)


def _put_behind(
    canvas: NDArray[np.float32],
    bare: NDArray[np.bool_],
    centre: NDArray[np.float64],
    radius: float,
    random: np.random.Generator,
) -> int:
    """Paint a leaf where the canvas is still bare: the pile is built from the top down.

    Args:
        canvas: h x w x 3, 0..255, changed in place.
        bare: h x w, pixels that no leaf covers yet, changed in place.
        centre: row and column.
        radius: half of the larger extent.
        random: source of shape and colour.

    Returns:
        number of pixels that were bare before.
    """
    low = np.maximum(np.floor(centre - 1.5 * radius), 0).astype(int)
    high = np.minimum(np.ceil(centre + 1.5 * radius), len(bare)).astype(int)
    box = slice(low[0], high[0]), slice(low[1], high[1])
    if not bare[box].any():
        return 0
    angle, flatness, angular = random.uniform(0, np.pi), random.uniform(0.3, 1), random.random() < 0.4
    y, x = np.ogrid[box]
    y, x = (y - centre[0]) / radius, (x - centre[1]) / radius
    u = x * np.cos(angle) + y * np.sin(angle)
    v = (y * np.cos(angle) - x * np.sin(angle)) / flatness
    inside = np.maximum(abs(u), abs(v)) <= 1 if angular else u * u + v * v <= 1
    here = inside & bare[box]
    shade = random.normal(0, 20) * u + random.normal(0, 20) * v
    if random.random() < 0.25:
        shade = shade + random.uniform(5, 50) * np.sin(u * radius * random.uniform(0.2, 1.2))
    colour = random.uniform(0, 255) + random.normal(0, 25, 3)
    canvas[box][here] = colour + shade[here][:, None]
    bare[box] &= ~here
    return int(np.count_nonzero(here))


def _images() -> Iterator[tuple[str, Callable[[], Image]]]:
    """Path in the demo's folder, and the function that makes the image."""
    photographs = _photographs()
    for name in VALIDATION:
        yield f"val/{Path(name).stem}.png", partial(read_image, photographs / name)
    for name, sizes in TRAINING.items():
        for size in sizes:
            yield f"train/{Path(name).stem}_{100 * size:.0f}.png", partial(_reduced, photographs / name, size)
    for seed in range(TILES):
        yield f"train/leaves_{seed:02d}.png", partial(dead_leaves, TILE_SIDE, seed)


def _reduced(path: Path, factor: float) -> Image:
    image = read_image(path)
    height, width = image.shape[:2]
    return resize(image, (round(height * factor), round(width * factor)))


def _photographs() -> Path:
    """Folder of images in scikit-image's wheel."""
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise UserError(
            "the demo's photographs come with scikit-image, which is not installed", fix="pip install 'paragonsr[demo]'"
        )
    return Path(found.submodule_search_locations[0], "data")
