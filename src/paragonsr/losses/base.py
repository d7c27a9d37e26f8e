"""Base classes of all losses."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Loss(nn.Module, ABC):
    """A scalar loss of SR images against HR images: a mean over samples, lower is better.

    It is computed in float32 (float64 stays float64) even under autocast: an 8-bit mantissa is not precise enough for
    sums of squares and ratios of variances. A loss that contains a network sets `autocast`, and then runs in the
    training precision.
    """

    autocast: bool = False
    """Compute in the training precision instead of float32."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            sr: N x 3 x H x W, roughly in [0, 1] but not clamped, any float dtype.
            hr: the same shape, in [0, 1].
        """
        if self.autocast:
            return self.measure(sr, hr)
        with torch.autocast(sr.device.type, enabled=False):
            if sr.dtype != torch.float64:
                sr, hr = sr.float(), hr.float()
            return self.measure(sr, hr)

    @abstractmethod
    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Compute the loss of float32 or float64 images; other dtypes occur only if `autocast` is set."""


class LearnedLoss(Loss):
    """Loss with its own network that learns along with the SR network, like a discriminator.

    The SR network is trained with `measure`; after that, the loss' own network is trained with `own_loss` on the same
    micro-batches. Training saves, restores and rolls back that network and its optimiser with the run.

    The network must not change its buffers in `measure` and `own_loss`: a batch is passed in micro-batches of any size,
    and again after running out of memory, and the result must be the same. What changes once per step (for example a
    power iteration) belongs in `begin_step`.
    """

    autocast = True
    measured: tuple[str, ...] = ()
    """Names of the values that `own_loss` reports in addition to its loss."""

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """Network that learns; its weights are saved as `net_d_<iteration>.safetensors`."""

    @abstractmethod
    def build_optimiser(self) -> Optimizer:
        """Build the optimiser of the network's parameters; its `lr` is the base rate, scaled by the run's schedule."""

    @abstractmethod
    def own_loss(self, sr: Tensor, hr: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss that trains the loss' own network.

        Args:
            sr: SR images, detached from the SR network.
            hr: HR images of the same shape.

        Returns:
            the loss, a mean over samples; and for each name in `measured` a 0-dim value, also a mean over samples.
        """

    def begin_step(self) -> None:
        """Hook called once per optimisation step, before its first micro-batch. Does nothing by default."""
