"""Base class of the steps that a degradation consists of, and how a list of them is carried out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from paragonsr.degradation.base import Image, Parameters
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.options import StepOptions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Planes = NDArray[np.float32]
"""3 x height x width: R, G, B in levels from 0 (black) to 255 (white), not rounded."""
AnyPlanes: TypeAlias = "Planes | Tensor"
"""Planes on the host, or the same as a float32 tensor on a device."""
P = TypeVar("P", Planes, "Tensor")

O = TypeVar("O", bound=StepOptions)  # noqa: E741


@dataclass(frozen=True)
class Target:
    """The image that all steps together make."""

    height: int
    width: int
    scale: int
    """HR side / LR side."""
    device: "torch.device | None" = None
    """Where the steps are carried out that take tensors; None on the host."""


class Step(ABC, Generic[O]):
    """One step: a pure function of (image, draws).

    Args:
        options: ranges from which the parameters of each sample are drawn.
    """

    takes: ClassVar[Literal["planes", "tensor", "either"]] = "planes"
    """Images that `apply` takes if the target has a device. Without one, all steps take planes."""

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


def run(
    steps: Sequence[Step[StepOptions]], image: AnyPlanes, draws: Draws, target: Target
) -> tuple[AnyPlanes, Parameters]:
    """Carry out steps in order, each with its probability.

    Args:
        steps: all of them.
        image: values in 0 .. 255; is not changed.
        draws: step n uses its child n, so that a step's randomness does not depend on what the others draw.
        target: size of the LR image, and the device.

    Returns:
        the new image, where the last step left it, and the parameters of the steps that took place, as
        "<n>.<type>.<parameter>".
    """
    parameters: Parameters = {}
    for number, step in enumerate(steps):
        own = draws.child(number)
        if own.coin(step.options.prob):
            image, drawn = step.apply(_as_taken(image, step, target), own, target)
            image = np.clip(image, 0, 255, out=image) if isinstance(image, np.ndarray) else image.clamp_(0, 255)
            parameters |= {f"{number}.{step.options.type}.{name}": value for name, value in drawn.items()}
    return image, parameters


def _as_taken(image: AnyPlanes, step: Step[StepOptions], target: Target) -> Any:
    """The image where the step takes it."""
    if target.device is None or step.takes == "either":
        return image
    if step.takes == "planes":
        return image if isinstance(image, np.ndarray) else image.cpu().numpy()
    if isinstance(image, np.ndarray):
        from paragonsr.degradation.tensors import upload

        return upload(image, target.device)
    return image


def to_planes(image: Image) -> Planes:
    """Convert height x width x 3 uint8 to planes."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)


def to_bytes(planes: AnyPlanes) -> Image:
    """Convert planes to height x width x 3 uint8: clipped, and rounded half to even."""
    if not isinstance(planes, np.ndarray):
        from paragonsr.degradation import tensors

        return tensors.to_bytes(planes)
    rounded = np.rint(planes)
    np.clip(rounded, 0, 255, out=rounded)
    image = np.empty((*planes.shape[1:], 3), np.uint8)
    for channel, plane in enumerate(rounded.astype(np.uint8)):
        image[..., channel] = plane
    return image
