"""A degradation that consists of steps, in order."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from paragonsr.degradation.base import Degradation, Image, Parameters
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.options import DegradationOptions, StepOptions
from paragonsr.degradation.step import Step, Target, run, to_bytes, to_planes
from paragonsr.resize import resize

if TYPE_CHECKING:
    import torch


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
        device: where the steps are carried out that take tensors; None on the host.
    """

    def __init__(
        self, steps: Sequence[Step[StepOptions]], scale: int, seed: int, device: "torch.device | None" = None
    ) -> None:
        self._steps, self._scale, self._seed, self._device = steps, scale, seed, device

    def on(self, device: "torch.device") -> "Pipeline":
        """See `Degradation`."""
        if device.type not in ("cpu", "cuda"):
            super().on(device)
        return Pipeline(self._steps, self._scale, self._seed, device)

    def degrade(self, hr: Image, sample: int) -> Image:
        """See `Degradation`."""
        return self.explained(hr, sample)[0]

    def explained(self, hr: Image, sample: int) -> tuple[Image, Parameters]:
        """See `Degradation`."""
        target = Target(hr.shape[0] // self._scale, hr.shape[1] // self._scale, self._scale, self._device)
        lq, parameters = self._run(hr, Draws(self._seed, sample), target)
        size = target.height, target.width
        return lq if lq.shape[:2] == size else resize(lq, size), parameters

    def _run(self, hr: Image, draws: Draws, target: Target) -> tuple[Image, Parameters]:
        if self._device is None:
            planes, parameters = run(self._steps, to_planes(hr), draws, target)
            return to_bytes(planes), parameters
        from paragonsr.degradation.tensors import from_bytes, working

        with working(self._device):
            planes, parameters = run(self._steps, from_bytes(hr, self._device), draws, target)
            return to_bytes(planes), parameters
