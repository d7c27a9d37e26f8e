"""Resizing to random sizes, and to that of the LR image."""

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from paragonsr.degradation.base import Parameters
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.lines import sums_of_columns, sums_of_rows, sums_on_device, weighing
from paragonsr.degradation.options import Range, StepOptions, positive, some_weight
from paragonsr.degradation.step import P, Step, Target
from paragonsr.resize import FILTERS, taps

if TYPE_CHECKING:
    from torch import Tensor

Direction = Literal["up", "down", "keep"]
FilterName = Literal["nearest", "area", "bilinear", "bicubic", "lanczos"]
Filters = Annotated[dict[FilterName, float], AfterValidator(some_weight)]


class FilterOptions(StepOptions):
    """How the steps that resize interpolate."""

    filters: Filters = Field({"area": 1.0, "bilinear": 1.0, "bicubic": 1.0})
    """Relative frequencies of the filters: nearest, area (mean over the area of the new pixel), bilinear, bicubic (Keys
    with a = -0.5, as MATLAB's imresize), lanczos (a = 3)."""
    antialias: float = Field(1.0, ge=0, le=1)
    """Probability that a filter is widened when it downscales, as MATLAB and Pillow do; OpenCV and browsers often do
    not, which aliases."""
    phase: float = Field(0.0, ge=0, le=4)
    """Largest shift of the sampling positions along each axis, in pixels of the image before the step."""


class ResizeOptions(FilterOptions):
    """Resizes by a random factor, up or down, or keeps the size. Source: Real-ESRGAN, Wang et al. 2107.10833."""

    type: Literal["resize"] = "resize"
    target = "paragonsr.degradation.resize:Resize"
    direction: Annotated[dict[Direction, float], AfterValidator(some_weight)] = Field(
        {"up": 0.2, "down": 0.7, "keep": 0.1}
    )
    """Relative frequencies of upscaling, downscaling, and keeping the size."""
    factor: Annotated[Range, AfterValidator(positive)] = Field([0.15, 1.5])
    """New side / old side: uniform between the minimum and 1 for down, and between 1 and the maximum for up."""
    relative_to: Literal["image", "lr"] = "image"
    """What the factor multiplies: the size of the image before the step, or that of the LR image to be made."""


class ToLROptions(FilterOptions):
    """Resizes to exactly the size of the LR image, HR side / scale. Without it, that is done after the last step."""

    type: Literal["to_lr"] = "to_lr"
    target = "paragonsr.degradation.resize:ToLR"


class Resize(Step[ResizeOptions]):
    """See the options."""

    takes = "tensor"

    def apply(self, image: P, draws: Draws, target: Target) -> tuple[P, Parameters]:
        """See `Step`."""
        low, high = self.options.factor
        direction = draws.choice(self.options.direction)
        if direction == "keep":
            return image, {"direction": direction}
        factor = draws.uniform(min(low, 1.0), min(high, 1.0))
        if direction == "up":
            factor = draws.uniform(max(low, 1.0), max(high, 1.0))
        before = image.shape[1:] if self.options.relative_to == "image" else (target.height, target.width)
        height, width = (max(1, round(side * factor)) for side in before)
        result, drawn = _resized(image, height, width, draws, self.options)
        return result, {"direction": direction, "factor": factor} | drawn


class ToLR(Step[ToLROptions]):
    """See the options."""

    takes = "tensor"

    def apply(self, image: P, draws: Draws, target: Target) -> tuple[P, Parameters]:
        """See `Step`."""
        return _resized(image, target.height, target.width, draws, self.options)


def _resized(image: P, height: int, width: int, draws: Draws, options: FilterOptions) -> tuple[P, Parameters]:
    name = draws.choice(options.filters)
    antialias = draws.coin(options.antialias)
    y, x = (draws.uniform(-options.phase, options.phase) if options.phase else 0.0 for _ in "yx")
    drawn: Parameters = {"filter": name}
    if name != "nearest":
        drawn["aliased"] = not antialias
    if options.phase:
        drawn |= {"shift_y": y, "shift_x": x}
    if (height, width) == image.shape[1:] and not options.phase:
        return image, drawn
    return resized(image, height, width, name, antialias, (y, x)), drawn


def resized(
    image: P,
    height: int,
    width: int,
    name: FilterName,
    antialias: bool = True,
    shift: tuple[float, float] = (0.0, 0.0),
) -> P:
    """Resize an image.

    Args:
        image: 3 x h x w, on the host or on a device.
        height: of the new image.
        width: of the new image.
        name: of the filter.
        antialias: widen the filter when downscaling.
        shift: moves the sampling positions, in pixels of the image along y and x.
    """
    if name == "nearest":
        from paragonsr.degradation.tensors import taken

        rows, columns = (
            _nearest(length, new, moved)
            for length, new, moved in zip(image.shape[1:], (height, width), shift, strict=True)
        )
        if isinstance(image, np.ndarray):
            return np.ascontiguousarray(image[:, rows[:, None], columns])
        return taken(image, rows, columns)
    for axis, (length, moved) in enumerate(zip((height, width), shift, strict=True)):
        before = image.shape[1 + axis]
        if length != before or moved:
            if isinstance(image, np.ndarray):
                sums = (sums_of_rows, sums_of_columns)[axis]
                image = sums(image, _weights(before, length, name, antialias, moved))
            else:
                image = sums_on_device(image, axis, *_taps(before, length, name, antialias, moved))
    return image


def _nearest(length: int, new_length: int, shift: float) -> np.ndarray:
    places = np.floor((np.arange(new_length) + 0.5) * length / new_length + shift)
    return np.clip(places, 0, length - 1).astype(np.intp)


@lru_cache(maxsize=512)
def _weights(length: int, new_length: int, name: str, antialias: bool, shift: float) -> "Tensor":
    """Matrix that resizes; kept, because most images are square, and the sizes of patches recur."""
    return weighing(*taps(length, new_length, FILTERS[name], antialias, shift), length)


@lru_cache(maxsize=512)
def _taps(
    length: int, new_length: int, name: str, antialias: bool, shift: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The same for a device, where the threads share no tensors."""
    return taps(length, new_length, FILTERS[name], antialias, shift)
