"""Chroma at a lower resolution, without compression."""

from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from paragonsr.degradation.base import Parameters
from paragonsr.degradation.colour import from_ycbcr, to_ycbcr
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.options import StepOptions, some_weight
from paragonsr.degradation.resize import resized
from paragonsr.degradation.step import Planes, Step, Target

Subsampling = Literal["422", "420", "411", "410"]
FACTORS: dict[Subsampling, tuple[int, int]] = {"422": (1, 2), "420": (2, 2), "411": (1, 4), "410": (4, 4)}
"""Pixels along y and x that share a chroma sample."""


class ChromaOptions(StepOptions):
    """Chroma subsampling: Cb and Cr of BT.601 become means over blocks, and are interpolated back."""

    type: Literal["chroma"] = "chroma"
    target = "paragonsr.degradation.chroma:Chroma"
    subsampling: Annotated[dict[Subsampling, float], AfterValidator(some_weight)] = Field(
        {"420": 0.7, "422": 0.2, "411": 0.1}
    )
    """Relative frequencies of the schemes: 422 (blocks of 2 x 1 pixels), 420 (2 x 2), 411 (4 x 1), 410 (4 x 4)."""
    interpolation: Annotated[dict[Literal["nearest", "bilinear"], float], AfterValidator(some_weight)] = Field(
        {"nearest": 0.5, "bilinear": 0.5}
    )
    """Relative frequencies of how chroma is interpolated back."""


class Chroma(Step[ChromaOptions]):
    """See the options."""

    def apply(self, image: Planes, draws: Draws, target: Target) -> tuple[Planes, Parameters]:
        """See `Step`."""
        scheme, back = draws.choice(self.options.subsampling), draws.choice(self.options.interpolation)
        down, across = FACTORS[scheme]
        height, width = image.shape[1:]
        planes = to_ycbcr(image)
        # Blocks that are not complete are completed with their last pixels.
        whole = np.pad(planes[1:], ((0, 0), (0, -height % down), (0, -width % across)), mode="edge")
        rows, columns = whole.shape[1] // down, whole.shape[2] // across
        means = whole.reshape(2, rows, down, columns, across).mean(axis=(2, 4), dtype=np.float32)
        planes[1:] = resized(means, rows * down, columns * across, back)[:, :height, :width]
        return from_ycbcr(planes), {"subsampling": scheme, "interpolation": back}
