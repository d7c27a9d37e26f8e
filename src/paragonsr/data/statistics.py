"""Statistics of the training images: four values between 0 and 1.

All are means over patches of the HR images, each patch measured by itself, so that a single image is enough and images
are not compared with each other. All grow with contrast, so that a set of low-contrast images is recognised as such.
"""

import numpy as np
from numpy.typing import NDArray

from paragonsr.data.packed import PackedDataset
from paragonsr.resize import Image

PATCHES = 1024
"""Number of measured patches, spread evenly over the images (as often as training shows them)."""
SIDE = 129
"""Side of a patch in HR pixels, whose slopes fill 16 x 16 blocks; smaller images are used whole."""
BLOCK = 8
"""Side in pixels of the blocks in which texture is distinguished from edges."""
SLOPE = 0.01
"""Slope of luma (in [0, 1]) per pixel, root mean square over a block, that gives 0.5: a small one, so that a few images
of high contrast do not dominate the mean."""
COLOURFUL = 0.15
"""Colourfulness that gives 0.5; people rate 0.13 as moderately and 0.43 as extremely colourful."""

Floats = NDArray[np.floating]

_STRIDES = np.array([0.7548776662466927, 0.5698402909980532])
"""1/p and 1/p^2 with p^3 = p + 1: their multiples modulo 1 fill the square evenly (Roberts 2018, R2 sequence)."""


def statistics(store: PackedDataset) -> dict[str, float]:
    """Means over `PATCHES` patches of a set, selected by a fixed rule.

    Returns:
        texture_variance, edge_density, color_variation and complexity, see `patch_statistics`.
    """
    shown = np.ones(len(store)) if store.weights is None else store.weights
    ends = np.cumsum(shown)
    points = (np.arange(PATCHES) + 0.5) * (ends[-1] / PATCHES)
    chosen = np.searchsorted(ends, points, side="right").tolist()
    places = np.arange(1, PATCHES + 1)[:, None] * _STRIDES % 1
    rows = [patch_statistics(_cut(store.hr(index), place)) for index, place in zip(chosen, places, strict=True)]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def patch_statistics(patch: Image) -> dict[str, float]:
    """Values of one patch, h x w x 3 uint8 RGB, any size.

    a >= b are the eigenvalues of the structure tensor in a block of 8 x 8 slopes (Bigun and Granlund 1987): the mean of
    the products of the horizontal and vertical slopes of luma (BT.601, [0, 1]). At an edge, the slopes have a single
    direction and b is near 0; in a texture they have all directions.

    texture_variance: mean over the blocks of sqrt(b) / (sqrt(b) + 0.01).
    edge_density: mean over the blocks of c sqrt(a) / (sqrt(a) + 0.01), with the coherence c = (a - b) / (a + b).
    color_variation: m / (m + 0.15), m the colourfulness of Hasler and Suesstrunk 2003 in [0, 1] units:
        sqrt(var(R - G) + var((R + G) / 2 - B)) + 0.3 sqrt(mean(R - G)^2 + mean((R + G) / 2 - B)^2).
    complexity: the mean of these three.
    """
    rgb = patch.astype(np.float32) / 255
    larger, smaller = _eigenvalues(rgb @ np.array([0.299, 0.587, 0.114], np.float32))
    coherence = (larger - smaller) / np.maximum(larger + smaller, 1e-12)
    across, along = np.sqrt(larger), np.sqrt(smaller)
    colour = _colourfulness(rgb)
    values = {
        "texture_variance": float(np.mean(along / (along + SLOPE))),
        "edge_density": float(np.mean(coherence * across / (across + SLOPE))),
        "color_variation": colour / (colour + COLOURFUL),
    }
    return values | {"complexity": sum(values.values()) / len(values)}


def _cut(image: Image, place: NDArray[np.float64]) -> Image:
    height, width = (min(side, SIDE) for side in image.shape[:2])
    top, left = (int(p * (side - size + 1)) for p, side, size in zip(place, image.shape, (height, width), strict=False))
    return image[top : top + height, left : left + width]


def _eigenvalues(luma: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues of the structure tensor of each block; incomplete blocks at the right and bottom are left out."""
    # Each slope is centred between four pixels, so that horizontal and vertical slopes belong to the same position.
    luma = np.pad(luma, [(0, int(side == 1)) for side in luma.shape], "edge")
    rows, columns = np.diff(luma, axis=0), np.diff(luma, axis=1)
    down, across = (rows[:, 1:] + rows[:, :-1]) / 2, (columns[1:] + columns[:-1]) / 2
    xx, yy, xy = (_block_means(product) for product in (across**2, down**2, across * down))
    half, radius = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return half + radius, np.maximum(half - radius, 0)


def _block_means(plane: Floats) -> Floats:
    block_height, block_width = (min(side, BLOCK) for side in plane.shape)
    rows, columns = plane.shape[0] // block_height, plane.shape[1] // block_width
    whole = plane[: rows * block_height, : columns * block_width]
    means: Floats = whole.reshape(rows, block_height, columns, block_width).mean(axis=(1, 3))
    return means


def _colourfulness(rgb: Floats) -> float:
    red, green, blue = np.moveaxis(rgb, -1, 0)
    opponents = (red - green, (red + green) / 2 - blue)
    variance = sum(float(plane.var()) for plane in opponents)
    mean = sum(float(plane.mean()) ** 2 for plane in opponents)
    return variance**0.5 + 0.3 * mean**0.5
