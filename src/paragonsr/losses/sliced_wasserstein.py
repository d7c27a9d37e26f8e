"""Sliced Wasserstein distance of the patches of two images: a distribution loss that needs no network."""

import torch
from torch import Tensor
from torch.nn import functional as F

from paragonsr.losses.base import Loss
from paragonsr.losses.perceptual_options import SlicedWassersteinOptions

SEED = 0
"""The directions are the same in every run, so that values can be compared and a resume changes nothing."""


def directions(count: int, patch: int) -> Tensor:
    """Random directions of length 1 in the space of RGB patches, each with sum 0 in every channel, so that the mean
    colour does not count: count x 3 x patch x patch."""
    drawn = torch.randn(count, 3, patch, patch, generator=torch.Generator().manual_seed(SEED))
    drawn = drawn - drawn.mean((2, 3), keepdim=True)
    return drawn / drawn.square().sum((1, 2, 3), keepdim=True).sqrt()


class SlicedWassersteinLoss(Loss):
    """See `SlicedWassersteinOptions`."""

    kernel: Tensor

    def __init__(self, options: SlicedWassersteinOptions) -> None:
        super().__init__()
        self._squared = options.criterion == "l2"
        self.register_buffer("kernel", directions(options.directions, options.patch))

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        """See `Loss`."""
        ours, theirs = (self._sorted(image) for image in (sr, hr.detach()))
        difference = ours - theirs
        return difference.square().mean() if self._squared else difference.abs().mean()

    def _sorted(self, image: Tensor) -> Tensor:
        """Projections of all patches on each direction in ascending order: N x directions x patches."""
        return F.conv2d(image, self.kernel.to(image.dtype)).flatten(2).sort(dim=2).values
