"""Fewer levels: banding, with or without dither."""

from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from paragonsr.degradation.base import Parameters
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.options import Range, StepOptions, some_weight, within
from paragonsr.degradation.step import Planes, Step, Target

Dither = Literal["none", "ordered", "noise"]


class QuantiseOptions(StepOptions):
    """Rounds each channel to one of n equally spaced levels: round(v / d + o) d with d = 255 / (n - 1).

    Without dither, o is 0, and smooth areas get bands. Ordered dither takes o from the 8 x 8 matrix of Bayer 1973 ("An
    optimum method for two-level rendition of continuous-tone pictures"), noise draws it uniformly, both in -1/2 .. 1/2.
    """

    type: Literal["quantise"] = "quantise"
    target = "paragonsr.degradation.quantise:Quantise"
    levels: Annotated[Range, within(2, 256)] = Field([16.0, 128.0])
    """Number of levels n, a whole number."""
    dither: Annotated[dict[Dither, float], AfterValidator(some_weight)] = Field(
        {"none": 0.6, "ordered": 0.2, "noise": 0.2}
    )
    """Relative frequencies of no dither, ordered dither and noise."""


class Quantise(Step[QuantiseOptions]):
    """See the options."""

    def apply(self, image: Planes, draws: Draws, target: Target) -> tuple[Planes, Parameters]:
        """See `Step`."""
        levels, dither = draws.whole(self.options.levels), draws.choice(self.options.dither)
        distance = np.float32(255 / (levels - 1))
        steps = image / distance
        height, width = image.shape[1:]
        if dither == "ordered":
            steps += np.tile(bayer(), (-(-height // 8), -(-width // 8)))[:height, :width]
        elif dither == "noise":
            steps += draws.uniforms(*image.shape) - np.float32(0.5)
        return np.rint(steps) * distance, {"levels": levels, "dither": dither}


@lru_cache(maxsize=1)
def bayer() -> NDArray[np.float32]:
    """Thresholds of ordered dither, 8 x 8 values with mean 0 in -1/2 .. 1/2."""
    matrix = np.zeros((1, 1))
    for _ in range(3):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return ((matrix + 0.5) / 64 - 0.5).astype(np.float32)
