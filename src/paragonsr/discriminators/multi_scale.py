"""Discriminator of several networks, which judge the image at 1, 1/2, 1/4, ... of its size (pix2pixHD, 1711.11585)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from paragonsr.discriminators.base import Discriminator, SingleScale


class MultiScale(Discriminator):
    """One network for each scale, all of one form, with weights of their own.

    The image is halved by the mean of each 2 x 2 pixels; an odd last row or column is the mean of what it has.

    Args:
        networks: for 1, 1/2, 1/4, ... of the size.
    """

    def __init__(self, networks: Sequence[SingleScale]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.smallest_side = (networks[0].smallest_side - 1 << len(networks) - 1) + 1
        self.train()

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        found = []
        for scale, network in enumerate(self.networks):
            image = F.avg_pool2d(image, 2, ceil_mode=True) if scale else image
            found.append(network.layers(image))  # type: ignore[operator]
        return found
