"""Structural similarity."""

from typing import TYPE_CHECKING

import numpy as np

from paragonsr.metrics.base import Metric
from paragonsr.metrics.protocol import Image, Samples, pair

if TYPE_CHECKING:
    from paragonsr.metrics.options import SSIMOptions

SIDE = 11
"""Side of the Gaussian window in pixels."""
SIGMA = 1.5
"""Standard deviation of the Gaussian window in pixels."""
C1 = (0.01 * 255) ** 2
"""(K1 L)^2 of the paper, for images in 0..255."""
C2 = (0.03 * 255) ** 2
"""(K2 L)^2 of the paper."""
STRIP = 32
"""Number of rows of windows that are computed together."""


def ssim(sr: Image, hr: Image, *, shave: int = 0, luma: bool = False) -> float:
    """Mean structural similarity, Wang et al. 2004, "Image quality assessment: from error visibility to structural
    similarity": Gaussian window of 11 x 11, sigma 1.5, K1 = .01, K2 = .03, L = 255, windows entirely inside the image,
    mean over positions and channels.

    Args:
        sr, hr: h x w x 3 uint8 RGB.
        shave: pixels to leave out at each side.
        luma: measure Y instead of R, G and B.

    Returns:
        in [-1, 1], 1 for equal images.

    Raises:
        ValueError: the images differ in shape, are not uint8 RGB, or are smaller than the window once shaved.
    """
    a, b = pair(sr, hr, shave=shave, luma=luma)
    height, width = a.shape[:2]
    if min(height, width) < SIDE:
        raise ValueError(f"SSIM needs {SIDE} x {SIDE} pixels, but {width} x {height} remain after shaving {shave}")
    # In strips, so that intermediate images stay in the cache: a megapixel takes a quarter of the time (measured).
    cuts = [slice(top, top + STRIP + SIDE - 1) for top in range(0, height - SIDE + 1, STRIP)]
    return float(np.concatenate([_similarity(a[cut], b[cut]) for cut in cuts]).mean())


class SSIM(Metric):
    """SSIM by the protocol of this package.

    Args:
        options: channels and border.
        scale: scale of the images.
    """

    def __init__(self, options: "SSIMOptions", scale: int) -> None:
        self._shave, self._luma, self._protocol = options.shave(scale), options.test_y_channel, options.protocol(scale)

    @property
    def protocol(self) -> str:
        """Channels, border and other details of the measurement, as text."""
        return self._protocol

    def measure(self, sr: Image, hr: Image) -> float:
        """Mean structural similarity, at most 1."""
        return ssim(sr, hr, shave=self._shave, luma=self._luma)


def window() -> Samples:
    """One-dimensional Gaussian whose outer product with itself is the window."""
    taps = np.exp(-(np.arange(-(SIDE // 2), SIDE // 2 + 1) ** 2) / (2 * SIGMA**2))
    gaussian: Samples = taps / taps.sum()
    return gaussian


def _similarity(a: Samples, b: Samples) -> Samples:
    """Similarity at every position of the window: h x w x channels to h - 10 x w - 10 x channels."""
    mean_a, mean_b = _blurred(a), _blurred(b)
    product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    covariance = _blurred(a * b) - product
    variances = _blurred(a**2 + b**2) - squares
    similarity: Samples = (2 * product + C1) * (2 * covariance + C2) / ((squares + C1) * (variances + C2))
    return similarity


def _blurred(image: Samples) -> Samples:
    taps = window()
    height, width = image.shape[0] - SIDE + 1, image.shape[1] - SIDE + 1
    rows = sum(weight * image[tap : tap + height] for tap, weight in enumerate(taps))
    total: Samples = sum(weight * rows[:, tap : tap + width] for tap, weight in enumerate(taps))
    return total
