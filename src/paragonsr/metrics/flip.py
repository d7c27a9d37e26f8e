"""FLIP: the difference that a viewer notices when flipping between two images (Andersson et al. 2020)."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import numpy as np

from paragonsr.errors import UserError
from paragonsr.metrics.base import Metric
from paragonsr.metrics.protocol import Image, cropped

if TYPE_CHECKING:
    from paragonsr.metrics.perceptual_options import FLIPOptions


class FLIP(Metric):
    """Mean LDR-FLIP of the package flip-evaluator (BSD).

    Args:
        options: the border.
        scale: unused; the whole image is measured by default.

    Raises:
        UserError: the package is missing.
    """

    better: Literal["higher", "lower"] = "lower"

    def __init__(self, options: "FLIPOptions", scale: int) -> None:
        if find_spec("flip_evaluator") is None:
            raise UserError("the metric flip needs flip-evaluator", fix="pip install 'paragonsr[judge]'")
        self._shave = options.crop_border

    @property
    def protocol(self) -> str:
        """Viewing conditions and border, as text."""
        return f"flip/ldr/ppd=67/crop={self._shave}/uint8/mean-of-images"

    def measure(self, sr: Image, hr: Image) -> float:
        """In [0, 1]; 0 for equal images."""
        import flip_evaluator

        ours, theirs = (image.astype(np.float32) / 255 for image in cropped(sr, hr, shave=self._shave))
        _, mean, _ = flip_evaluator.evaluate(theirs, ours, "LDR", applyMagma=False)
        return float(mean)
