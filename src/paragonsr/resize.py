"""MATLAB's `imresize(image, ..., 'bicubic')` on uint8 images, bit for bit, and the taps of other resize filters.

Keys' cubic kernel with a = -0.5 (Keys 1981, "Cubic convolution interpolation for digital image processing"), widened
by 1/scale when downscaling (antialiasing), weights normalised to 1, borders mirrored by the index list [1..n n..1],
rows first, and rounding to uint8 (half up) after each of the two passes.

The taps are summed one after the other by separate multiplications and additions, not by a matrix product: summation
order and rounding of a BLAS differ between machines, so a sum that lies on a half could be rounded either way.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""Height x width x 3 (or any number of channels), 0..255."""

_BLOCK_BYTES = 1 << 18
"""Size of the accumulator of one block of output lines, in bytes: it stays in the L2 cache."""


def downscale(image: Image, scale: int) -> Image:
    """Downscale an HR image to its LR image.

    Args:
        image: h x w x c uint8; h and w are multiples of `scale`.
        scale: downscaling factor.

    Returns:
        h // scale x w // scale x c uint8.

    Raises:
        ValueError: a side is not a multiple of the scale.
    """
    height, width = image.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f"{width} x {height} is not a multiple of the scale {scale}")
    return resize(image, (height // scale, width // scale))


def upscale(image: Image, scale: int) -> Image:
    """Bicubic upscaling, the baseline that networks are measured against.

    Args:
        image: h x w x c uint8.
        scale: upscaling factor.

    Returns:
        h * scale x w * scale x c uint8.
    """
    height, width = image.shape[:2]
    return resize(image, (height * scale, width * scale))


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Resize to any size.

    Args:
        image: h x w x c uint8.
        size: new height and width, at least 1 each.

    Returns:
        height x width x c uint8, contiguous; a copy even if the size does not change.

    Raises:
        ValueError: the image is not uint8 with three axes, or a side is less than 1.
    """
    if image.dtype != np.uint8 or image.ndim != 3:
        raise ValueError(f"resize takes height x width x channels in uint8, not {image.shape} in {image.dtype}")
    if min(size) < 1 or min(image.shape) < 1:
        raise ValueError(f"cannot resize {image.shape} to {size}")
    rows = _resize_first_axis(image, size[0])
    columns = _resize_first_axis(rows.transpose(1, 0, 2), size[1])
    return np.array(columns.transpose(1, 0, 2), order="C")


Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Filter:
    """Interpolation filter."""

    radius: float
    """Half of its width, in pixels."""
    weights: Callable[[Floats, float], Floats]
    """Weights at distances in pixels, stretched by the second argument, min(new side / side, 1)."""


def taps(
    length: int, new_length: int, of: Filter | None = None, antialias: bool = True, shift: float = 0.0
) -> tuple[NDArray[np.intp], Floats]:
    """Input lines and weights that make up each output line.

    Args:
        length: number of input lines.
        new_length: number of output lines.
        of: the filter; default: the cubic one of MATLAB.
        antialias: widen the filter when downscaling.
        shift: moves the sampling positions, in input lines.

    Returns:
        indices and weights, both new_length x number of taps; the weights of a line sum to 1.
    """
    of = of or FILTERS["bicubic"]
    scale = new_length / length
    stretch = min(scale, 1.0) if antialias else 1.0
    width = 2 * of.radius / stretch
    centre = np.arange(1, new_length + 1) / scale + 0.5 * (1 - 1 / scale) + shift
    left = np.floor(centre - width / 2)
    lines = left[:, None] + np.arange(int(np.ceil(width)) + 2)
    weights = stretch * of.weights(stretch * (centre[:, None] - lines), stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    indices = mirrored[(lines.astype(np.intp) - 1) % (2 * length)]
    used = weights.any(axis=0)
    return indices[:, used], weights[:, used]


def _cubic(x: Floats, stretch: float) -> Floats:
    x = np.abs(x)
    inner = 1.5 * x**3 - 2.5 * x**2 + 1
    outer = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))


def _triangle(x: Floats, stretch: float) -> Floats:
    return np.maximum(1 - np.abs(x), 0.0)


def _area(x: Floats, stretch: float) -> Floats:
    """Overlap of the input pixel with the output pixel."""
    return np.clip((1 + stretch) / 2 - np.abs(x), 0.0, stretch)


def _lanczos(x: Floats, stretch: float) -> Floats:
    """sinc(x) sinc(x / 3) for |x| < 3."""
    weights: Floats = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)
    return weights


FILTERS = {
    "area": Filter(1.0, _area),
    "bilinear": Filter(1.0, _triangle),
    "bicubic": Filter(2.0, _cubic),
    "lanczos": Filter(3.0, _lanczos),
}
"""Filters by name. When upscaling, area equals bilinear."""


def _resize_first_axis(image: Image, new_length: int) -> Image:
    length = len(image)
    if new_length == length:
        return image
    indices, weights = taps(length, new_length)
    lines = np.ascontiguousarray(image).reshape(length, -1)
    result = np.empty((new_length, lines.shape[1]), np.uint8)
    block = max(1, _BLOCK_BYTES // (8 * lines.shape[1]))
    total = np.empty((block, lines.shape[1]))
    term = np.empty_like(total)
    for start in range(0, new_length, block):
        stop = min(start + block, new_length)
        n = stop - start
        total[:n] = 0.5
        for tap in range(weights.shape[1]):
            np.multiply(lines[indices[start:stop, tap]], weights[start:stop, tap, None], out=term[:n])
            total[:n] += term[:n]
        np.floor(total[:n], out=total[:n])
        result[start:stop] = np.clip(total[:n], 0, 255, out=total[:n])
    return result.reshape(new_length, *image.shape[1:])
