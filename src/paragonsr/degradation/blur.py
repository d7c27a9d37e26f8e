"""Blur by kernels of many shapes."""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from paragonsr.degradation import kernels
from paragonsr.degradation.base import Parameters
from paragonsr.degradation.convolution import convolved
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.options import Range, StepOptions, odd_sizes, positive, some_weight, within
from paragonsr.degradation.step import P, Step, Target

Shape = Literal[
    "iso",
    "aniso",
    "generalized_iso",
    "generalized_aniso",
    "plateau_iso",
    "plateau_aniso",
    "sinc",
    "motion",
    "defocus",
]


class BlurOptions(StepOptions):
    """Convolution with a kernel whose shape and size are drawn for each sample.

    With q = x' S^-1 x, the squared distance from the centre in standard deviations, the kernels are exp(-q / 2) (iso,
    aniso), exp(-q^b / 2) (generalized), 1 / (1 + q^b) (plateau), the circular low-pass filter w J1(w r) / (2 pi r)
    (sinc), a line (motion) and a disc (defocus). Aniso kernels have two standard deviations and a random direction.
    Source: Real-ESRGAN, Wang et al. 2107.10833, except for motion and defocus. The image is mirrored at its borders.
    """

    type: Literal["blur"] = "blur"
    target = "paragonsr.degradation.blur:Blur"
    kernels: Annotated[dict[Shape, float], AfterValidator(some_weight)] = Field(
        {
            "iso": 0.45,
            "aniso": 0.25,
            "generalized_iso": 0.12,
            "generalized_aniso": 0.03,
            "plateau_iso": 0.12,
            "plateau_aniso": 0.03,
        }
    )
    """Relative frequencies of the shapes: iso, aniso, generalized_iso, generalized_aniso, plateau_iso, plateau_aniso,
    sinc, motion, defocus."""
    size: Annotated[Range, AfterValidator(odd_sizes)] = Field([7, 21])
    """Side of a kernel in pixels, odd; kernels are cut off there. Motion and defocus take the room that they need."""
    sigma: Annotated[Range, AfterValidator(positive)] = Field([0.2, 3.0])
    """Standard deviation in pixels; both of an aniso kernel are drawn from it."""
    beta_generalized: Annotated[Range, AfterValidator(positive)] = Field([0.5, 4.0])
    """Exponent b of generalized kernels. If the range contains 1, half of the samples are below and half above."""
    beta_plateau: Annotated[Range, AfterValidator(positive)] = Field([1.0, 2.0])
    """Exponent b of plateau kernels, drawn in the same way."""
    cutoff: Annotated[Range, AfterValidator(positive), within(0, 1)] = Field([0.2, 1.0])
    """Cut-off frequency w of sinc kernels, as a fraction of pi radians per pixel; at least 1/3 for kernels smaller than
    13 pixels."""
    length: Annotated[Range, within(0, 101)] = Field([3.0, 15.0])
    """Length of a motion in pixels."""
    radius: Annotated[Range, within(0, 50)] = Field([0.5, 4.0])
    """Radius of defocus in pixels."""


class Blur(Step[BlurOptions]):
    """See the options."""

    takes = "tensor"

    def apply(self, image: P, draws: Draws, target: Target) -> tuple[P, Parameters]:
        """See `Step`."""
        kernel, drawn = self.kernel(draws)
        return convolved(image, kernel), drawn

    def kernel(self, draws: Draws) -> tuple[kernels.Kernel, Parameters]:
        """Draw a kernel, and tell its parameters."""
        options = self.options
        shape = draws.choice(options.kernels)
        if shape == "motion":
            length, angle = draws.within(options.length), draws.uniform(0, math.pi)
            return kernels.motion(length, angle), {"kernel": shape, "length": length, "angle": angle}
        if shape == "defocus":
            radius = draws.within(options.radius)
            return kernels.defocus(radius), {"kernel": shape, "radius": radius}
        size = draws.whole(options.size, step=2)
        if shape == "sinc":
            low, high = options.cutoff
            cutoff = draws.uniform(min(max(low, 1 / 3), high) if size < 13 else low, high)
            return kernels.sinc(size, cutoff * math.pi), {"kernel": shape, "size": size, "cutoff": cutoff}
        sigma = draws.within(options.sigma)
        drawn: Parameters = {"kernel": shape, "size": size, "sigma": sigma}
        both, angle = (sigma, sigma), 0.0
        if shape.endswith("aniso"):
            both, angle = (sigma, draws.within(options.sigma)), draws.uniform(0, math.pi)
            drawn |= {"sigma_y": both[1], "angle": angle}
        if shape in ("iso", "aniso"):
            return kernels.gaussian(size, both, angle), drawn
        generalised = shape.startswith("generalized")
        beta = _around_one(draws, options.beta_generalized if generalised else options.beta_plateau)
        formula = kernels.generalised if generalised else kernels.plateau
        return formula(size, both, angle, beta), drawn | {"beta": beta}


def _around_one(draws: Draws, ends: list[float]) -> float:
    """Number in a range; if that contains 1, below and above with equal probability."""
    low, high = ends
    if low < 1 < high:
        low, high = (low, 1.0) if draws.coin(0.5) else (1.0, high)
    return draws.uniform(low, high)
