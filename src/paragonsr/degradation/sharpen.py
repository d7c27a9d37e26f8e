"""Sharpening and its halos, and lines that are made thicker."""

from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from paragonsr.degradation.base import Parameters
from paragonsr.degradation.convolution import convolved
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.kernels import gaussian
from paragonsr.degradation.options import Range, StepOptions, positive, within
from paragonsr.degradation.step import Planes, Step, Target


class SharpenOptions(StepOptions):
    """Unsharp mask: v + amount (v - blurred v), clipped; a large sigma and amount give halos.

    With a threshold t, the result is mixed with the image by the blurred mask of the pixels where |v - blurred v| > t
    (Real-ESRGAN, Wang et al. 2107.10833).
    """

    type: Literal["sharpen"] = "sharpen"
    target = "paragonsr.degradation.sharpen:Sharpen"
    amount: Annotated[Range, within(0, 20)] = Field([0.5, 2.0])
    """Factor of the difference."""
    sigma: Annotated[Range, AfterValidator(positive), within(0, 16)] = Field([0.5, 3.0])
    """Standard deviation of the Gaussian blur, in pixels; the kernel ends at three of them."""
    threshold: Annotated[Range, within(0, 255)] = Field([0.0, 0.0])
    """Threshold in levels; 0 sharpens everything."""


class ThickLinesOptions(StepOptions):
    """Makes dark lines thicker: (1 - share) v + share times the minimum over 3 x 3 pixels. Source: traiNNer-redux."""

    type: Literal["thick_lines"] = "thick_lines"
    target = "paragonsr.degradation.sharpen:ThickLines"
    share: Annotated[Range, within(0, 1)] = Field([0.25, 0.25])
    """Share of the minimum."""


class Sharpen(Step[SharpenOptions]):
    """See the options."""

    def apply(self, image: Planes, draws: Draws, target: Target) -> tuple[Planes, Parameters]:
        """See `Step`."""
        options = self.options
        amount, sigma, threshold = (draws.within(r) for r in (options.amount, options.sigma, options.threshold))
        kernel = gaussian(2 * int(np.ceil(3 * sigma)) + 1, (sigma, sigma))
        detail = image - convolved(image, kernel)
        sharp: Planes = np.clip(image + np.float32(amount) * detail, np.float32(0), np.float32(255))
        drawn: Parameters = {"amount": amount, "sigma": sigma}
        if not threshold:
            return sharp, drawn
        mask = convolved((np.abs(detail) > threshold).astype(np.float32), kernel)
        return image + mask * (sharp - image), drawn | {"threshold": threshold}


class ThickLines(Step[ThickLinesOptions]):
    """See the options."""

    def apply(self, image: Planes, draws: Draws, target: Target) -> tuple[Planes, Parameters]:
        """See `Step`."""
        share = draws.within(self.options.share)
        edged = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
        rows = np.minimum(np.minimum(edged[:, :-2], edged[:, 1:-1]), edged[:, 2:])
        least = np.minimum(np.minimum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])
        return image + np.float32(share) * (least - image), {"share": share}
