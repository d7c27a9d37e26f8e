"""Peak signal-to-noise ratio."""

import math
from typing import TYPE_CHECKING

import numpy as np

from paragonsr.metrics.base import Metric
from paragonsr.metrics.protocol import Image, pair

if TYPE_CHECKING:
    from paragonsr.metrics.options import PSNROptions


def psnr(sr: Image, hr: Image, *, shave: int = 0, luma: bool = False) -> float:
    """10 log10(255^2 / mean squared error) in dB, over all measured samples; inf for equal images.

    Args:
        sr, hr: h x w x 3 uint8 RGB.
        shave: pixels to leave out at each side.
        luma: measure Y instead of R, G and B.

    Raises:
        ValueError: the images differ in shape, are not uint8 RGB, or are no larger than twice the shave.
    """
    one, other = pair(sr, hr, shave=shave, luma=luma)
    error = float(np.square(one - other).mean())
    return 10 * math.log10(255**2 / error) if error else math.inf


class PSNR(Metric):
    """PSNR by the protocol of this package.

    Args:
        options: channels and border.
        scale: scale of the images.
    """

    def __init__(self, options: "PSNROptions", scale: int) -> None:
        self._shave, self._luma, self._protocol = options.shave(scale), options.test_y_channel, options.protocol(scale)

    @property
    def protocol(self) -> str:
        """Channels, border and other details of the measurement, as text."""
        return self._protocol

    def measure(self, sr: Image, hr: Image) -> float:
        """PSNR in dB; inf for equal images."""
        return psnr(sr, hr, shave=self._shave, luma=self._luma)
