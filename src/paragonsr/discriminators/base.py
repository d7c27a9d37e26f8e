"""Base class of all discriminators, and their spectral norm."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm


class Discriminator(nn.Module, ABC):
    """Takes N x 3 x H x W in [0, 1] to logits; larger ones mean that it takes the image for an HR image.

    A pass changes nothing: training passes a batch in micro-batches of any size, and again after running out of memory.
    Estimates of spectral norms are therefore renewed only by `renew`, once per step.
    """

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Compute the logits."""

    def train(self, mode: bool = True) -> "Discriminator":
        """Stay as in evaluation: in training mode, a spectral norm would change with every pass."""
        return super().train(False)

    def renew(self) -> None:
        """Renew the estimate of each spectral norm by one power iteration (Miyato et al. 1802.05957)."""
        for module in self.modules():
            if parametrize.is_parametrized(module, "weight"):
                norm: nn.Module = module.parametrizations["weight"][0]  # type: ignore[index, assignment]
                norm.train()
                with torch.no_grad():
                    _ = module.weight
                norm.eval()


def normed(before: int, after: int, side: int, stride: int, padding: int, *, bias: bool = True) -> nn.Module:
    """Convolution with spectral norm; the arguments are those of `nn.Conv2d`."""
    return spectral_norm(nn.Conv2d(before, after, side, stride, padding, bias=bias))
