"""Geometric self-ensemble: the mean over the eight flips and rotations of an image (Timofte et al. 1511.02228)."""

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Runs a network on all eight orientations, undoes them and averages the results. Costs eight times as much.

    Args:
        network: maps N x C x h x w to N x C x scale h x scale w.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """N x C x h x w to N x C x scale h x scale w."""
        total: Tensor | None = None
        for turned in (False, True):
            for flips in ((), (-1,), (-2,), (-1, -2)):
                seen = torch.flip(image.transpose(-1, -2) if turned else image, flips)
                sr = torch.flip(self.network(seen), flips)
                sr = sr.transpose(-1, -2) if turned else sr
                total = sr.float() if total is None else total + sr
        assert total is not None
        return total / 8
