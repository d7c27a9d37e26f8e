"""Traces of JPEG in the pixels: coefficients that lie on the multiples of a quantisation table."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

NEUTRAL_QUALITY = 100
"""Quality of an image without traces."""
QUALITIES = tuple(range(5, 99, 1))
"""Qualities that are looked for."""
_LOOKED_AT = 12
"""Coefficients that are looked at, the lowest ones without the mean."""
_EMPTY = 0.6
"""Coefficients below this magnitude, in levels, are 0 but for rounding."""
_CLEAR = 0.25
"""Fit above which a quality counts."""

LUMA_TABLE = np.array(
    """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80
    62 18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100
    103 99""".split(),
    np.float64,
).reshape(8, 8)
"""Quantisation of luma at quality 50: ITU-T T.81, table K.1."""


@dataclass(frozen=True)
class Traces:
    """What the blocks at the corner of a crop tell."""

    quality: float
    fit: float
    empty: float
    empty_chroma: float


def scaled(table: NDArray[np.float64], quality: float) -> NDArray[np.float64]:
    """Table of a quality, as libjpeg scales it: 1 .. 255, whole numbers."""
    factor = 5000 / quality if quality < 50 else 200 - 2 * quality
    found: NDArray[np.float64] = np.clip(np.floor((table * factor + 50) / 100), 1, 255)
    return found


def jpeg_traces(ycbcr: Plane) -> Traces:
    """Find the traces of a JPEG whose blocks begin at the corner.

    The fit of a quality is the mean of cos(2 pi c / q) over the coefficients c that its step q does not make 0: 1 if
    all lie on multiples of q, 0 if they lie anywhere.

    Args:
        ycbcr: 3 x h x w, Y', Cb, Cr in levels; sides are multiples of 16.
    """
    luma = blocks(ycbcr[0] - np.float32(128))
    quality, fit = _best(luma)
    high = np.add.outer(np.arange(8), np.arange(8)) >= 5
    chroma = np.concatenate([blocks(_halved(plane) - np.float32(128)) for plane in ycbcr[1:]])
    return Traces(
        quality,
        fit,
        float((np.abs(luma[:, high]) < _EMPTY).mean()),
        float((np.abs(chroma[:, np.add.outer(np.arange(8), np.arange(8)) >= 3]) < _EMPTY).mean()),
    )


def blocks(plane: Plane) -> Plane:
    """DCT coefficients of all 8 x 8 blocks, N x 8 x 8."""
    rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
    cut = plane.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    found: Plane = (_dct() @ cut @ _dct().T).astype(np.float32)
    return found


def _best(luma: Plane) -> tuple[float, float]:
    places, _steps = _looked_at()
    values = luma.reshape(len(luma), 64)[:, places]
    # Histograms in fifths of a level make the sum over coefficients independent of their number.
    whole = np.clip(np.rint(np.abs(values) * 5), 0, _BINS - 1).astype(np.intp)
    counts = np.stack([np.bincount(column, minlength=_BINS) for column in whole.T]).astype(np.float32)
    sums = np.einsum("kb,qkb->q", counts, _waves())
    weights = np.einsum("kb,qkb->q", counts, _counted())
    fits = sums / np.maximum(weights, 1) * np.minimum(weights / 40, 1)
    # The largest step of several whose multiples fit: a smaller one divides it.
    best = int(np.argmax(fits))
    fit = float(fits[best])
    quality = QUALITIES[best] if fit > _CLEAR else NEUTRAL_QUALITY
    return float(quality), max(fit, 0.0)


_BINS = 1200
"""Bins of a fifth of a level."""


@lru_cache(maxsize=1)
def _looked_at() -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Positions of the coefficients in a flat block, and their steps by quality."""
    order = sorted(range(1, 64), key=lambda k: (k // 8 + k % 8, k))[:_LOOKED_AT]
    steps = np.stack([scaled(LUMA_TABLE, quality).ravel()[order] for quality in QUALITIES])
    return np.array(order, np.intp), steps


@lru_cache(maxsize=1)
def _counted() -> Plane:
    _, steps = _looked_at()
    values = np.arange(_BINS) / 5
    counted = (values > steps[..., None] / 2) & (steps[..., None] >= 2)
    return counted.astype(np.float32)


@lru_cache(maxsize=1)
def _waves() -> Plane:
    """cos(2 pi c / q) by quality, coefficient and value."""
    _, steps = _looked_at()
    waves = np.cos(2 * np.pi * (np.arange(_BINS) / 5) / steps[..., None])
    return (waves * _counted()).astype(np.float32)


@lru_cache(maxsize=1)
def _dct() -> Plane:
    """Orthonormal DCT-II of 8 samples."""
    k, n = np.arange(8)[:, None], np.arange(8)[None]
    basis: NDArray[np.float64] = np.sqrt(2 / 8) * np.cos((2 * n + 1) * k * np.pi / 16)
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


def _halved(plane: Plane) -> Plane:
    height, width = plane.shape
    means: Plane = plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    return means
