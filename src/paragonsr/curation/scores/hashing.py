"""Perceptual hash, which hardly changes when an image is recompressed, scaled or brightened."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE = 32
"""Side of the transformed image, in pixels."""
_KEPT = 8
"""Number of lowest frequencies along each axis whose signs are used."""


def perceptual_hash(image: NDArray[np.uint8]) -> int:
    """pHash: signs of low frequencies (Zauner 2010, "Implementation and benchmarking of perceptual image hash
    functions").

    The luma is downscaled to 32 x 32. The 64 coefficients of its cosine transform with frequencies 1 .. 8 in both
    directions are compared with their median. The hash does not depend on brightness or contrast.

    Args:
        image: h x w x 3 uint8 RGB.

    Returns:
        64 bits, 0 .. 2^64 - 1; 0 for a constant image.
    """
    grey = Image.fromarray(np.ascontiguousarray(image)).convert("L")
    # 8-bit samples are downscaled in float, because a smooth image has differences of less than one grey level here.
    small = np.asarray(grey.convert("F").resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64)
    found = _COSINES @ small @ _COSINES.T
    # Rounding alone must not decide a bit.
    bits = (found - np.median(found)).round(3) > 0
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hamming(a: int, b: int) -> int:
    """Number of bits in which two hashes differ, 0 .. 64."""
    return (a ^ b).bit_count()


def _cosines() -> NDArray[np.float64]:
    """Rows 1 .. 8 of the DCT-II of 32 samples."""
    frequency, place = np.arange(1, _KEPT + 1)[:, None], np.arange(_SIDE) + 0.5
    return np.cos(np.pi * frequency * place / _SIDE) * np.sqrt(2 / _SIDE)


_COSINES = _cosines()
