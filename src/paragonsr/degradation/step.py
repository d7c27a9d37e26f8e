"""Base class of the steps that a degradation consists of, and how a list of them is carried out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from paragonsr.degradation.base import Image, Parameters
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.options import StepOptions

Planes = NDArray[np.float32]
"""3 x height x width: R, G, B in levels from 0 (black) to 255 (white), not rounded."""

O = TypeVar("O", bound=StepOptions)  # noqa: E741


@dataclass(frozen=True)
class Target:
    """The image that all steps together make."""

    height: int
    width: int
    scale: int
    """HR side / LR side."""


class Step(ABC, Generic[O]):
    """One step: a pure function of (image, draws).

    Args:
        options: ranges from which the parameters of each sample are drawn.
    """

    def __init__(self, options: O) -> None:
        self.options = options

    @abstractmethod
    def apply(self, image: Planes, draws: Draws, target: Target) -> tuple[Planes, Parameters]:
        """Degrade one image.

        Args:
            image: is not changed.
            draws: the only source of randomness.
            target: size of the LR image that is being made.

        Returns:
            the new image, which is then clipped to 0 .. 255, and the parameters that were drawn.
        """


def run(steps: Sequence[Step[StepOptions]], image: Planes, draws: Draws, target: Target) -> tuple[Planes, Parameters]:
    """Carry out steps in order, each with its probability.

    Args:
        steps: all of them.
        image: values in 0 .. 255; is not changed.
        draws: step n uses its child n, so that a step's randomness does not depend on what the others draw.
        target: size of the LR image.

    Returns:
        the new image, and the parameters of the steps that took place, as "<n>.<type>.<parameter>".
    """
    parameters: Parameters = {}
    for number, step in enumerate(steps):
        own = draws.child(number)
        if own.coin(step.options.prob):
            image, drawn = step.apply(image, own, target)
            np.clip(image, 0, 255, out=image)
            parameters |= {f"{number}.{step.options.type}.{name}": value for name, value in drawn.items()}
    return image, parameters


def to_planes(image: Image) -> Planes:
    """Convert height x width x 3 uint8 to planes."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)


def to_bytes(planes: Planes) -> Image:
    """Convert planes to height x width x 3 uint8: clipped, and rounded half to even."""
    rounded = np.rint(planes)
    np.clip(rounded, 0, 255, out=rounded)
    image = np.empty((*planes.shape[1:], 3), np.uint8)
    for channel, plane in enumerate(rounded.astype(np.uint8)):
        image[..., channel] = plane
    return image
