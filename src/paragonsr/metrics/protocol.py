"""Measuring protocol: conversions and borders that two values must share to be comparable."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""height x width x 3 uint8 RGB."""
Samples = NDArray[np.float64]
"""height x width x channels float64, 0..255 (Y: 16..235)."""


def to_uint8(image: torch.Tensor) -> Image:
    """Convert a network's output for measuring and writing: clamped, times 255, rounded half to even.

    Args:
        image: 3 x h x w, any float dtype, roughly in [0, 1].

    Returns:
        h x w x 3 uint8.
    """
    levels = image.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy())


def samples(image: Image, *, shave: int, luma: bool) -> Samples:
    """Extract the samples of an image that are measured.

    Args:
        image: h x w x 3 uint8 RGB.
        shave: pixels to leave out at each side.
        luma: the Y channel instead of R, G, B: studio range, ITU-R BT.601 as in MATLAB's rgb2ycbcr,
            Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255 on 0..255, not rounded.

    Returns:
        h - 2 shave x w - 2 shave x 1 or 3.

    Raises:
        ValueError: no pixel would be left.
    """
    height, width = image.shape[:2]
    if min(height, width) <= 2 * shave:
        raise ValueError(f"nothing is left of {width} x {height} pixels when {shave} are shaved off each side")
    inner = image[shave : height - shave, shave : width - shave].astype(np.float64)
    if not luma:
        return inner
    red, green, blue = np.moveaxis(inner, 2, 0)
    # Not a matrix product, whose last bit depends on the memory layout of the image.
    y: Samples = 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    return y[..., None]


def pair(sr: Image, hr: Image, *, shave: int, luma: bool) -> tuple[Samples, Samples]:
    """`samples` of two images.

    Raises:
        ValueError: their shapes differ, they are not uint8 RGB, or nothing would be left.
    """
    _require_comparable(sr, hr)
    return samples(sr, shave=shave, luma=luma), samples(hr, shave=shave, luma=luma)


def cropped(sr: Image, hr: Image, *, shave: int) -> tuple[Image, Image]:
    """Both images without their borders.

    Raises:
        ValueError: their shapes differ, they are not uint8 RGB, or nothing would be left.
    """
    _require_comparable(sr, hr)
    height, width = sr.shape[:2]
    if min(height, width) <= 2 * shave:
        raise ValueError(f"nothing is left of {width} x {height} pixels when {shave} are shaved off each side")
    inner = slice(shave, height - shave), slice(shave, width - shave)
    return sr[inner], hr[inner]


def _require_comparable(sr: Image, hr: Image) -> None:
    if sr.shape != hr.shape:
        raise ValueError(f"an SR image of {sr.shape} cannot be measured against an HR image of {hr.shape}")
    for image in (sr, hr):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"images are height x width x 3 uint8, not {image.shape} {image.dtype}")


@dataclass(frozen=True)
class Mean:
    """Mean of a value over images."""

    value: float
    """Arithmetic mean of the finite values; inf if all are infinite."""
    exact: int
    """Number of images with an infinite value, which were reproduced exactly; they are left out of the mean."""


def mean_of_images(values: Sequence[float]) -> Mean:
    """Mean of per-image values.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no images: the mean is not defined")
    figures: NDArray[Any] = np.asarray(values, np.float64)
    infinite = np.isinf(figures)
    value = float(figures[~infinite].mean()) if not infinite.all() else float("inf")
    return Mean(value, int(infinite.sum()))
