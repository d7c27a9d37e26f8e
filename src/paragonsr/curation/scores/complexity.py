"""Complexity score of an image in [0, 1], without a trained network."""

import math
from collections.abc import Sequence

import numpy as np

from paragonsr.curation.scores.haar import Level

_STEP = 8.0
"""Amplitude of a detail, in grey levels, that costs the first half bit."""

_FLOOR = 6.0
"""Multiple of the noise energy that a detail must exceed; white noise does so in one of 2 300 blocks."""

_CHROMA = 0.5
"""Weight of a bit of colour detail relative to a bit of luma detail."""

# Fitted with: python benchmarks/curation_scores.py --calibrate gb82 cid22 clic2025
_HALF = 1.041
"""Raw value with complexity 0.5."""
_POWER = 0.766
"""Exponent, fitted to the 90th percentile of photographs."""


def complexity(raw: float) -> float:
    """Complexity in [0, 1): 1 - 2^-(raw / 1.041)^0.766.

    The two constants were fitted so that the 342 tiles of 512 x 512 pixels from three sets of lossless photographs have
    the median 0.37 and the 90th percentile 0.55 that were published for a pool of such tiles. Their mean is 0.35; over
    the 264 tiles that pass the filters of that pool it is 0.39 (median 0.39, 90th percentile 0.55).
    """
    return 1 - 2 ** -((raw / _HALF) ** _POWER)


def raw_complexity(luma: Sequence[Level], chroma: Sequence[Level], entropy: float, noise: float) -> float:
    """Bits that the details cost, weighted by the variation of the tones.

    An estimate of compressibility: on every octave, details of mean square e, less the part explained by noise, cost
    log2(1 + e / 64) / 2 bits (the rate of a wavelet coder with a step of 8 grey levels). The mean over the blocks grows
    with the share of the image covered by edges and texture, the logarithm limits the effect of a few strong edges, and
    the mean over octaves makes tiles of any size comparable; an upscaled image has empty fine octaves and scores lower.
    The result is multiplied by the root of (1 + H) / 9, where H is the tones' entropy less the part explained by noise,
    0 .. 8.

    Args:
        luma: Haar levels of the luma, in grey levels.
        chroma: Haar levels of both opponent planes.
        entropy: entropy of the luma histogram, in bits.
        noise: standard deviation of the noise on the luma, in grey levels.

    Returns:
        bits per block, from 0.
    """
    variance = noise**2
    bits = _bits(luma, variance)
    # For R - G and (R + G) / 2 - B of channels with independent noise (the luma has 1 / 1.5 of its deviation), averaged
    # over 4 pixels.
    bits += 2 * _CHROMA * _bits(chroma, 2 * 1.5**2 * variance / 4)
    return bits * ((1 + _without_noise(entropy, variance)) / 9) ** 0.5


def _bits(levels: Sequence[Level], variance: float) -> float:
    """Mean bits per block, averaged over levels."""
    found = []
    for number, level in enumerate(levels):
        signal = level.energy - np.float32(12 * _FLOOR * variance / 4**number)
        np.maximum(signal, 0, out=signal)
        signal *= np.float32(1 / (12 * _STEP**2))
        found.append(float(np.log1p(signal, out=signal).mean()) / math.log(4))
    return sum(found) / len(found) if found else 0.0


def _without_noise(entropy: float, variance: float) -> float:
    """Entropy without noise, in bits; the entropy powers 4^H / (2 pi e) of independent terms add up (Shannon 1948)."""
    around = 2 * math.pi * math.e
    return math.log2(max(4**entropy - around * variance, 1.0)) / 2
