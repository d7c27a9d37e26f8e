"""LDL: a loss where artefacts are likely (Liang et al. 2203.09195)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from paragonsr.losses.base import Loss
from paragonsr.losses.perceptual_options import LDLOptions

TINY = 1e-12
"""Added to the variance of a patch, whose fifth root has no gradient at 0."""


def artefact_map(sr: Tensor, hr: Tensor, ksize: int) -> Tensor:
    """N x 1 x H x W weights: with r the absolute error summed over R, G and B, the variance of r in the window of
    ksize x ksize around each pixel, times the fifth root of its variance over the patch.

    The published map is 0 where the moving average of the network errs more than the network. That needs a second pass
    of the network and is left out.
    """
    residual = (hr - sr).abs().sum(1, keepdim=True)
    whole = (residual.var(dim=(1, 2, 3), keepdim=True) + TINY) ** 0.2
    padded = F.pad(residual, [ksize // 2] * 4, mode="reflect")
    mean, squares = F.avg_pool2d(padded, ksize, 1), F.avg_pool2d(padded.square(), ksize, 1)
    count = ksize * ksize
    return whole * (squares - mean.square()).clamp(min=0) * (count / (count - 1))


class LDLLoss(Loss):
    """See `LDLOptions`."""

    def __init__(self, options: LDLOptions) -> None:
        super().__init__()
        self._criterion, self._ksize = options.criterion, options.ksize

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        """See `Loss`."""
        difference = artefact_map(sr, hr, self._ksize) * (sr - hr)
        if self._criterion == "l2":
            return difference.square().mean()
        if self._criterion == "charbonnier":
            return torch.sqrt(difference.square() + TINY).mean()
        return difference.abs().mean()
