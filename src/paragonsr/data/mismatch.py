"""Detection of HR and LR pairs that do not show the same picture."""

import math

import numpy as np

from paragonsr.resize import Image, downscale

SAME = 20.0
"""PSNR of the LR image against the downscaled HR image, in dB, at or above which both show the same picture."""
BETTER = 6.0
"""Improvement in dB at which another orientation is reported."""
TURNS = {
    "turned by 180 degrees": lambda image: image[::-1, ::-1],
    "turned by 90 degrees": lambda image: np.rot90(image, 1),
    "turned by 270 degrees": lambda image: np.rot90(image, 3),
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
}


def mismatch(hr: Image, lq: Image, scale: int) -> str | None:
    """Describe the mismatch of a pair whose images differ too much; None if both show the same picture.

    The HR image is downscaled by MATLAB's bicubic resize. A real LR image (compressed, blurred, noisy) stays above the
    threshold; a different picture, or the same one in another orientation, does not.

    Args:
        hr: scale h x scale w x 3 uint8 RGB.
        lq: h x w x 3 uint8 RGB.
        scale: HR side / LR side.
    """
    reduced = hr if scale == 1 else downscale(hr, scale)
    found = _psnr(reduced, lq)
    if found >= SAME:
        return None
    turned = {name: _psnr(turn(reduced), lq) for name, turn in TURNS.items()}
    best = max(turned, key=lambda name: turned[name])
    said = f"HR and LR do not show the same picture: {found:.1f} dB between the downscaled HR image and the LR image"
    if turned[best] >= found + BETTER:
        return f"{said}; {best}, it matches ({turned[best]:.1f} dB): one of them was saved without its EXIF orientation"
    return said


def _psnr(one: Image, other: Image) -> float:
    if one.shape != other.shape:
        return -math.inf
    error = float(np.square(one.astype(np.float64) - other).mean())
    return 10 * math.log10(255**2 / error) if error else math.inf
