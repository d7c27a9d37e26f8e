"""Training objective: each loss is differentiated at the network's output, so that its gradient can be measured."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from paragonsr.losses.base import LearnedLoss, Loss
from paragonsr.losses.options import LossOptions
from paragonsr.training.engine.device_context import DeviceContext


@dataclass(frozen=True)
class LossGradient:
    """Gradient of the losses of one micro-batch with respect to its SR images."""

    total: Tensor
    """d(sum of weighted losses)/dSR, shape of SR, float32."""
    values: dict[str, Tensor]
    """Unweighted value of each loss; 0-dim. A loss with weight 0 is not computed and has no entry."""
    norms: dict[str, Tensor]
    """Squared L2 norm of dL/dSR of each unweighted loss; 0-dim."""


class Objective:
    """Weighted sum of losses over SR images.

    Every loss is differentiated at the detached SR image: g_i = dL_i/dSR. Propagating sum(w_i g_i) through the network
    gives the same gradient as the summed loss, with one backward pass, and the norms of g_i cost nothing.

    Args:
        losses: the configured losses.
        device_context: device and precision of the losses.
    """

    def __init__(self, losses: Sequence[LossOptions], device_context: DeviceContext) -> None:
        self.options = list(losses)
        self.device_context = device_context
        self.losses: dict[str, Loss] = {loss.label: loss.build().to(device_context.device) for loss in losses}
        self.learned = {label: loss for label, loss in self.losses.items() if isinstance(loss, LearnedLoss)}
        """Learned losses by label."""

    def frozen(self) -> "Objective":
        """The same losses with learning switched off, for trials that must leave no trace."""
        other = copy.copy(self)
        other.learned = {}
        return other

    def compiled(self) -> "Objective":
        """The same losses, those without a network of their own compiled."""
        other = copy.copy(self)
        other.losses = {
            label: loss if any(loss.parameters()) else cast("Loss", torch.compile(loss))
            for label, loss in self.losses.items()
        }
        return other

    @property
    def labels(self) -> list[str]:
        """Names of the losses, in the order of the configuration."""
        return list(self.losses)

    def weights(self, position: float, factors: Mapping[str, float]) -> dict[str, float]:
        """Weight of each loss at a position: its ramp times the factor set by an automation."""
        return {loss.label: loss.weight_at(position) * factors.get(loss.label, 1.0) for loss in self.options}

    def gradient(self, sr: Tensor, hr: Tensor, weights: Mapping[str, float]) -> LossGradient:
        """Differentiate all losses with a non-zero weight.

        Args:
            sr: SR images, N x 3 x H x W, roughly in [0, 1]; any float dtype.
            hr: HR images, same shape, float32 in [0, 1].
            weights: weight of each loss.
        """
        leaf = sr.detach().float().requires_grad_()
        total = torch.zeros_like(leaf)
        scale = self._scale(leaf)
        values, norms = {}, {}
        for label, loss in self.losses.items():
            if weights[label] == 0:
                continue
            with self.device_context.autocast():
                value = loss(leaf, hr)
            (gradient,) = torch.autograd.grad(value.float() * scale, leaf)
            gradient = gradient / scale
            values[label] = value.detach().float()
            norms[label] = gradient.square().sum()
            total.add_(gradient, alpha=weights[label])
        return LossGradient(total, values, norms)

    def _scale(self, leaf: Tensor) -> float:
        """Factor, a power of two, of each loss while it is differentiated.

        A mean over many features has gradients below the smallest number of float16 (6e-8) inside a network. The factor
        grows with the number of samples, so that the gradients stay near 1 / 256 whatever the size of the batch.
        """
        if self.device_context.dtype != torch.float16:
            return 1.0
        return 2.0 ** max(0, round(math.log2(leaf.numel() / 256)))
