"""Aliasing score: detects folded frequencies by a spectrum that does not fall off."""

import math
from collections.abc import Sequence

from paragonsr.curation.scores.haar import Level

_MARGIN = 1.1
"""Factor on the estimated noise energy that is subtracted, because the estimate is not exact."""


def aliasing(levels: Sequence[Level], noise: float) -> float:
    """Amplitude a of the finest octave, divided by the sum a + b of the two finest, in [0, 1].

    a^2 is the mean energy of the Haar details on the first level, less that of the noise; b^2 is 4 times that on the
    second level: in these units, white noise has a = b. An image taken through a lens has a spectrum whose power falls
    with the square of the frequency or faster: b >= 2 a, and the result is at most 1/3. Downscaling without a low-pass
    filter folds frequencies back: the spectrum becomes flat at its end, and the result approaches 1/2. Pixel-fine
    texture exceeds that.

    Args:
        levels: result of `haar` on the luma; with fewer than two (an image smaller than 4 x 4) the result is 0.
        noise: standard deviation in grey levels.
    """
    if len(levels) < 2:
        return 0.0
    fine, coarse = (float(level.energy.mean()) / 12 for level in levels[:2])
    a = math.sqrt(max(fine - _MARGIN * noise**2, 0.0))
    return a / (a + math.sqrt(4 * coarse)) if a > 0 else 0.0
