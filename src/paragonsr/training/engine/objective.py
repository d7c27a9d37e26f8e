"""The training objective: each loss differentiated at the network's output, where its pull can be measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paragonsr.losses.options import LossOptions


@dataclass(frozen=True)
class LossGradient:
    """What the losses say about one micro-batch."""

    gradient: Tensor
    """d(sum of weighted losses)/dSR, shape of SR, float32."""
    values: dict[str, Tensor]
    """Raw value of each loss, before its weight; 0-dim. A loss with weight 0 is not computed and is not here."""
    norms: dict[str, Tensor]
    """Squared L2 norm of dL/dSR of each loss, before its weight; 0-dim."""


class Objective:
    """A weighted sum of losses over SR images.

    Every loss is differentiated at the detached SR image: g_i = dL_i/dSR. Propagating sum(w_i g_i) through the network
    gives the same gradient as the summed loss, with one backward pass, and the norms of g_i come for nothing.

    Args:
        losses: the configured losses.
        device: where they compute.
    """

    def __init__(self, losses: Sequence[LossOptions], device: torch.device) -> None:
        self.options = list(losses)
        self.modules: dict[str, nn.Module] = {loss.label: loss.build().to(device) for loss in losses}

    @property
    def labels(self) -> list[str]:
        """Names of the losses, in the order of the configuration."""
        return list(self.modules)

    def weights(self, position: float, factors: Mapping[str, float]) -> dict[str, float]:
        """Weight of each loss at a position: its ramp times the factor that an automation has set."""
        return {loss.label: loss.weight_at(position) * factors.get(loss.label, 1.0) for loss in self.options}

    def gradient(self, sr: Tensor, hr: Tensor, weights: Mapping[str, float]) -> LossGradient:
        """Differentiate all losses that have a weight.

        Args:
            sr: SR images, N x 3 x H x W, about [0, 1]; any float type.
            hr: HR images, same shape, float32 in [0, 1].
            weights: weight of each loss.
        """
        leaf = sr.detach().float().requires_grad_()
        total = torch.zeros_like(leaf)
        values, norms = {}, {}
        for label, module in self.modules.items():
            if weights[label] == 0:
                continue
            value = module(leaf, hr)
            (gradient,) = torch.autograd.grad(value, leaf)
            values[label] = value.detach()
            norms[label] = gradient.square().sum()
            total.add_(gradient, alpha=weights[label])
        return LossGradient(total, values, norms)
