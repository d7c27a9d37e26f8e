"""Noise: Gaussian, Poisson, and that of a sensor in linear light."""

from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from paragonsr.degradation.base import Parameters
from paragonsr.degradation.colour import from_linear, luma, to_linear
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.options import Range, StepOptions, positive, within
from paragonsr.degradation.step import P, Planes, Step, Target


class GaussianNoiseOptions(StepOptions):
    """Adds normal noise, independent for each pixel. Source: Real-ESRGAN, Wang et al. 2107.10833."""

    type: Literal["gaussian_noise"] = "gaussian_noise"
    target = "paragonsr.degradation.noise:GaussianNoise"
    sigma: Annotated[Range, within(0, 255)] = Field([1.0, 30.0])
    """Standard deviation in levels of 0 .. 255."""
    gray_prob: float = Field(0.4, ge=0, le=1)
    """Probability of grey noise, the same in R, G and B; otherwise they are independent."""


class PoissonNoiseOptions(StepOptions):
    """Adds s (n - v), with n a Poisson distributed number of mean v and v the value in levels: the variance is s^2 v.

    Source: Real-ESRGAN, Wang et al. 2107.10833, whose code has 256 counts at white for nearly all images, as here.
    """

    type: Literal["poisson_noise"] = "poisson_noise"
    target = "paragonsr.degradation.noise:PoissonNoise"
    scale: Annotated[Range, within(0, 16)] = Field([0.05, 3.0])
    """The factor s."""
    gray_prob: float = Field(0.4, ge=0, le=1)
    """Probability of grey noise, that of the luma; otherwise R, G and B are independent."""


class SensorNoiseOptions(StepOptions):
    """Noise of a sensor, in linear light: v + sqrt(shot v + read^2) times a standard normal number.

    v in 0 .. 1 is the value that the sensor measured: linear light (the sRGB curve undone) divided by the gain of the
    channel. Source: Brooks et al. 1811.11127, "Unprocessing images for learned raw denoising".
    """

    type: Literal["sensor_noise"] = "sensor_noise"
    target = "paragonsr.degradation.noise:SensorNoise"
    shot: Annotated[Range, AfterValidator(positive), within(0, 1)] = Field([0.0001, 0.012])
    """Variance / value of the shot noise; its logarithm is uniform."""
    read: Annotated[Range, AfterValidator(positive), within(0, 1)] = Field([0.0005, 0.02])
    """Standard deviation of the read noise; its logarithm is uniform."""
    red_gain: Annotated[Range, AfterValidator(positive)] = Field([1.9, 2.4])
    """Gain of R for the white balance, relative to G."""
    blue_gain: Annotated[Range, AfterValidator(positive)] = Field([1.5, 1.9])
    """Gain of B for the white balance, relative to G."""


class GaussianNoise(Step[GaussianNoiseOptions]):
    """See the options."""

    takes = "tensor"

    def apply(self, image: P, draws: Draws, target: Target) -> tuple[P, Parameters]:
        """See `Step`."""
        sigma, gray = draws.within(self.options.sigma), draws.coin(self.options.gray_prob)
        drawn: Parameters = {"sigma": sigma, "gray": gray}
        if not sigma:
            return image, drawn
        noise = _normals(image, 1 if gray else 3, draws)
        noise *= sigma
        return image + noise, drawn


class PoissonNoise(Step[PoissonNoiseOptions]):
    """See the options."""

    takes = "tensor"

    def apply(self, image: P, draws: Draws, target: Target) -> tuple[P, Parameters]:
        """See `Step`."""
        scale, gray = draws.within(self.options.scale), draws.coin(self.options.gray_prob)
        drawn: Parameters = {"scale": scale, "gray": gray}
        if not scale:
            return image, drawn
        noise = _poisson_deviations(luma(image)[None] if gray else image, draws)
        noise *= scale
        return image + noise, drawn


class SensorNoise(Step[SensorNoiseOptions]):
    """See the options."""

    def apply(self, image: Planes, draws: Draws, target: Target) -> tuple[Planes, Parameters]:
        """See `Step`."""
        options = self.options
        shot, read = draws.log_uniform(options.shot), draws.log_uniform(options.read)
        red, blue = draws.within(options.red_gain), draws.within(options.blue_gain)
        gains = np.array([red, 1.0, blue], np.float32)[:, None, None]
        sensed = to_linear(image) / gains
        noise = np.sqrt(sensed * np.float32(shot) + np.float32(read**2)) * draws.normals(*image.shape)
        result = from_linear(np.clip((sensed + noise) * gains, 0, 1))
        return result, {"shot": shot, "read": read, "red_gain": red, "blue_gain": blue}


def _normals(image: P, planes: int, draws: Draws) -> P:
    """Standard normal numbers for each pixel, where the image is."""
    shape = planes, *image.shape[1:]
    if isinstance(image, np.ndarray):
        return draws.normals(*shape)
    import torch

    return torch.randn(shape, generator=draws.generator(image.device), device=image.device)


def _poisson_deviations(means: P, draws: Draws) -> P:
    """Deviations from the mean of Poisson distributed counts, where the means are."""
    if isinstance(means, np.ndarray):
        return draws.poisson_deviations(means)
    import torch

    return torch.poisson(means, draws.generator(means.device)) - means
