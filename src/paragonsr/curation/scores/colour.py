"""Colour scores, computed at a quarter of the size, since the eye does not resolve finer colour."""

import math

import numpy as np
from numpy.typing import NDArray

from paragonsr.curation.scores.haar import Plane

SIDE = 4


def opponents(image: NDArray[np.uint8]) -> Plane:
    """R - G and (R + G) / 2 - B of the means of 4 pixels in a row, in every fourth row.

    Args:
        image: h x w x 3; pixels beyond a multiple of 4 are ignored.

    Returns:
        2 x h/4 x w/4; of single pixels if a side is less than 4.
    """
    side = SIDE if min(image.shape[:2]) >= SIDE else 1
    height, width = image.shape[0] // side, image.shape[1] // side
    rows = image[: height * side : side, : width * side].astype(np.float32)
    weights = np.tile(np.array([[1, -1, 0], [0.5, 0.5, -1]], np.float32), side) / np.float32(side)
    return (weights @ rows.reshape(-1, 3 * side).T).reshape(2, height, width).astype(np.float32, copy=False)


def saturation(colours: Plane) -> float:
    """Colourfulness of Hasler and Süsstrunk (2003, "Measuring colourfulness in natural images"), from 0.

    The root of the sum of the opponent planes' variances, plus 0.3 times the root of the sum of their squared means.
    15 is slightly, 45 averagely, 82 highly colourful.

    Args:
        colours: result of `opponents`.
    """
    flat = colours.reshape(2, -1)
    means = flat.mean(axis=1)
    centred = (flat - means[:, None]).ravel()
    return math.sqrt(float(centred @ centred) / flat.shape[1]) + 0.3 * math.hypot(*means.tolist())
