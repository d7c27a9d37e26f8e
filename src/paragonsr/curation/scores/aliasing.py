"""Frequencies that were folded back, told by a spectrum that does not fall."""

import math
from collections.abc import Sequence

from paragonsr.curation.scores.haar import Level

_MARGIN = 1.1
"""Times the estimated energy of the noise that is taken off, for the estimate is not exact."""


def aliasing(levels: Sequence[Level], noise: float) -> float:
    """Amplitude of the finest octave a over that of the two finest a + b, in [0, 1].

    a^2 is the mean energy of the Haar details on the first level, less the noise's; b^2 that on the second, times 4: in
    these units white noise has a = b. An image taken through a lens has a spectrum whose power falls with the square of
    the frequency or faster: b >= 2 a, the result is 1/3 or less. Reduction without a low-pass folds frequencies back,
    the spectrum becomes flat at its end, and the result nears 1/2. Texture as fine as the pixels exceeds that.

    Args:
        levels: of `haar` on the luma, at least two, or the result is 0: the image is smaller than 4 x 4.
        noise: standard deviation in grey levels.
    """
    if len(levels) < 2:
        return 0.0
    fine, coarse = (float(level.energy.mean()) / 12 for level in levels[:2])
    a = math.sqrt(max(fine - _MARGIN * noise**2, 0.0))
    return a / (a + math.sqrt(4 * coarse)) if a > 0 else 0.0
