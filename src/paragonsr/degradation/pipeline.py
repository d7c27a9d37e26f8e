"""A degradation that consists of steps, in order."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from paragonsr.degradation.base import Degradation, Image, Parameters
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.options import DegradationOptions, StepOptions
from paragonsr.degradation.step import Step, Target, run, to_bytes, to_planes
from paragonsr.resize import resize


class PipelineOptions(DegradationOptions):
    """Steps that are carried out in order.

    The randomness of a step is a function of (seed, sample, position of the step). Values between the steps are not
    rounded, except by codecs. If the last image does not have the size of the LR image, the MATLAB-exact bicubic resize
    makes it; without steps, the result is the same as without a degradation.
    """

    type: Literal["pipeline"] = "pipeline"
    target = "paragonsr.degradation.pipeline:build"
    steps: list[StepOptions] = Field(default_factory=list)
    """Steps, each with a `type`."""
    fitted_to: str = ""
    """Folder of bad images that the steps were fitted to by `{like: FOLDER}` or `paragonsr data calibrate`; for the
    record only."""


def build(options: PipelineOptions, *, scale: int, seed: int) -> "Pipeline":
    """The degradation that the options describe."""
    return Pipeline([step.build() for step in options.steps], scale, seed)


class Pipeline(Degradation):
    """Carries out steps, and makes sure that the result has the size of the LR image.

    Args:
        steps: in order.
        scale: HR side / LR side.
        seed: together with the sample, determines all randomness.
    """

    def __init__(self, steps: Sequence[Step[StepOptions]], scale: int, seed: int) -> None:
        self._steps, self._scale, self._seed = steps, scale, seed

    def degrade(self, hr: Image, sample: int) -> Image:
        """See `Degradation`."""
        return self.explained(hr, sample)[0]

    def explained(self, hr: Image, sample: int) -> tuple[Image, Parameters]:
        """See `Degradation`."""
        target = Target(hr.shape[0] // self._scale, hr.shape[1] // self._scale, self._scale)
        planes, parameters = run(self._steps, to_planes(hr), Draws(self._seed, sample), target)
        lq, size = to_bytes(planes), (target.height, target.width)
        return lq if lq.shape[:2] == size else resize(lq, size), parameters
