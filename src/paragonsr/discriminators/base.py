"""Base classes of all discriminators, and their spectral norm."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm


class Discriminator(nn.Module, ABC):
    """Judges N x 3 x H x W in [0, 1] at one or several scales; larger logits mean that it takes the image for an HR
    image.

    A pass changes nothing: training passes a batch in micro-batches of any size, and again after running out of memory.
    Estimates of spectral norms are therefore renewed only by `renew`, once per step.
    """

    smallest_side: int = 1
    """Shorter side, in pixels, of the smallest image that it can judge."""

    @abstractmethod
    def forward(self, image: Tensor) -> list[list[Tensor]]:
        """Compute, for each scale, the output of each layer: features after their activation, and the logits last."""

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


class SingleScale(Discriminator):
    """A discriminator that judges the image at its own size."""

    @abstractmethod
    def layers(self, image: Tensor) -> list[Tensor]:
        """Compute the output of each layer: features after their activation, and the logits last."""

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        return [self.layers(image)]


def normed(before: int, after: int, side: int, stride: int, padding: int, *, bias: bool = True) -> nn.Module:
    """Convolution with spectral norm; the arguments are those of `nn.Conv2d`."""
    return spectral_norm(nn.Conv2d(before, after, side, stride, padding, bias=bias))
