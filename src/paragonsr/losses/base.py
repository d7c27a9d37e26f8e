"""What all losses share."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Loss(nn.Module, ABC):
    """A scalar figure of SR images against HR images, a mean over samples, the smaller the better.

    It is computed in float32 (float64 stays float64) whatever autocast is in force: sums of squares and quotients of
    variances do not survive 8 bits of mantissa.
    """

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The loss.

        Args:
            sr: N x 3 x H x W, about [0, 1] and never clamped, any float type.
            hr: the same shape, in [0, 1].
        """
        with torch.autocast(sr.device.type, enabled=False):
            if sr.dtype != torch.float64:
                sr, hr = sr.float(), hr.float()
            return self.measure(sr, hr)

    @abstractmethod
    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The loss of float32 or float64 images."""
