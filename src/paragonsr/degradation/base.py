"""Base classes of degradations: pure functions of (seed, sample) that make an LR image from an HR image."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from paragonsr.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Image = NDArray[np.uint8]
"""height x width x 3 uint8 RGB."""
Parameters = dict[str, float | int | bool | str]
"""What was drawn for a sample, by name: "0.blur.sigma" of the first step."""


class Degradation(ABC):
    """Degrades images one by one, in the threads that prepare batches.

    The same (HR image, sample) always gives the same LR image, in any process, thread and order.
    """

    @abstractmethod
    def degrade(self, hr: Image, sample: int) -> Image:
        """Make the LR image.

        Args:
            hr: s h x s w x 3 uint8 RGB, s the scale.
            sample: index of the training sample, or of the image in a validation set.

        Returns:
            h x w x 3 uint8 RGB.
        """

    def explained(self, hr: Image, sample: int) -> tuple[Image, Parameters]:
        """Make the LR image, and tell the parameters that were drawn for it; none if the degradation has none."""
        return self.degrade(hr, sample), {}

    def on(self, device: "torch.device") -> "Degradation":
        """The same degradation, with what can be computed on a device computed there.

        The threads that prepare batches call it as before. Its images may differ in rounding, and in the random numbers
        of noise; on one device they are always the same.

        Raises:
            UserError: it has no part that can be computed on this device.
        """
        raise UserError(
            f"this degradation cannot be computed on {device.type}",
            where="datasets.train.degradation_device",
            fix="Set it to cpu.",
        )


class DeviceDegradation(ABC):
    """Degrades the images of a micro-batch on the training device."""

    @abstractmethod
    def degrade(self, hr: "Tensor", samples: Sequence[int]) -> "Tensor":
        """Make the LR images; each depends only on its HR image and its sample, not on the rest of the batch.

        Args:
            hr: N x 3 x s h x s w float32 in [0, 1].
            samples: N sample indices.

        Returns:
            N x 3 x h x w float32 in [0, 1], on the device of `hr`.
        """


AnyDegradation = Degradation | DeviceDegradation
