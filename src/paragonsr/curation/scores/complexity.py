"""Complexity of an image in [0, 1], without weights."""

import math
from collections.abc import Sequence

import numpy as np

from paragonsr.curation.scores.haar import Level

_STEP = 8.0
"""Grey levels of a detail that cost the first half bit."""

_FLOOR = 6.0
"""Times the noise's energy that a detail must exceed: white noise does so in one of 2 300 blocks."""

_CHROMA = 0.5
"""Weight of a bit of colour detail beside a bit of luma detail."""

# Fitted with: python benchmarks/curation_scores.py --calibrate gb82 cid22 clic2025
_HALF = 1.041
"""Raw value whose complexity is 0.5."""
_POWER = 0.766
"""Exponent that gives photographs their 90th percentile."""


def complexity(raw: float) -> float:
    """Complexity in [0, 1): 1 - 2^-(raw / 1.041)^0.766.

    Two constants were fitted so that the 342 tiles of 512 x 512 pixels of three sets of lossless photographs have the
    median 0.37 and the 90th percentile 0.55 that were published for a pool of such tiles; their mean is 0.35, and 0.39
    (median 0.39, 90th percentile 0.55) over the 264 that pass the filters which that pool had passed.
    """
    return 1 - 2 ** -((raw / _HALF) ** _POWER)


def raw_complexity(luma: Sequence[Level], chroma: Sequence[Level], entropy: float, noise: float) -> float:
    """Bits that the details cost, weighted by how much the tones vary.

    An estimate of compressibility: on every octave details of mean square e, less what noise explains, cost
    log2(1 + e / 64) / 2 bits (the rate of a wavelet coder with step 8 grey levels). The mean over the blocks grows with
    the share of the image that edges and texture cover, the logarithm keeps few strong edges from counting for much,
    and the mean over octaves makes tiles of any size comparable; an upscaled image has empty fine octaves and scores
    lower. The result is multiplied by the root of (1 + H) / 9, H the tones' entropy less what noise explains, 0 .. 8.

    Args:
        luma: Haar levels of the luma in grey levels.
        chroma: Haar levels of the two opponent planes together.
        entropy: of the luma's histogram in bits.
        noise: standard deviation on the luma in grey levels.

    Returns:
        bits a block, from 0.
    """
    variance = noise**2
    bits = _bits(luma, variance)
    # R - G and (R + G) / 2 - B of channels with independent noise, whose luma has 1 / 1.5 of its deviation, over 4
    # pixels.
    bits += 2 * _CHROMA * _bits(chroma, 2 * 1.5**2 * variance / 4)
    return bits * ((1 + _without_noise(entropy, variance)) / 9) ** 0.5


def _bits(levels: Sequence[Level], variance: float) -> float:
    """Mean over levels of the mean bits a block."""
    found = []
    for number, level in enumerate(levels):
        signal = level.energy - np.float32(12 * _FLOOR * variance / 4**number)
        np.maximum(signal, 0, out=signal)
        signal *= np.float32(1 / (12 * _STEP**2))
        found.append(float(np.log1p(signal, out=signal).mean()) / math.log(4))
    return sum(found) / len(found) if found else 0.0


def _without_noise(entropy: float, variance: float) -> float:
    """Entropy of the tones in bits; of independent summands the entropy powers 4^H / (2 pi e) add up (Shannon 1948)."""
    around = 2 * math.pi * math.e
    return math.log2(max(4**entropy - around * variance, 1.0)) / 2
