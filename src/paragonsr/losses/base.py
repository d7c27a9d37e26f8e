"""Base classes of all losses."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Loss(nn.Module, ABC):
    """A scalar loss of SR images against HR images: a mean over samples, lower is better.

    It is computed in float32 (float64 stays float64) whatever autocast is in force: sums of squares and quotients of
    variances do not survive 8 bits of mantissa. A loss that holds a network sets `autocast`, and then runs in the
    precision of the training.
    """

    autocast: bool = False
    """Compute in the precision of the training instead of float32."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            sr: N x 3 x H x W, about [0, 1] and never clamped, any float type.
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
        """The loss of float32 or float64 images; in other types only where `autocast` is set."""


class LearnedLoss(Loss):
    """A loss with a network of its own that learns beside the SR network, as a discriminator does.

    The SR network is trained by `measure`. After it, the loss' own network is trained by `own_loss` of the same
    micro-batches. The training saves, restores and rolls back that network and its optimiser with the run.

    The network must not change its buffers in `measure` and `own_loss`: a batch is passed in micro-batches of any size,
    and again after memory ran out, and the result must be the same. What changes once per step (a power iteration,
    say) belongs into `begin_step`.
    """

    autocast = True
    measured: tuple[str, ...] = ()
    """Names of the values that `own_loss` measures beside its loss."""

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """The network that learns; its weights are saved as `net_d_<iteration>.safetensors`."""

    @abstractmethod
    def build_optimiser(self) -> Optimizer:
        """A new optimiser of the network's parameters; its `lr` is the base rate, which the run's schedule scales."""

    @abstractmethod
    def own_loss(self, sr: Tensor, hr: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What the loss' own network is trained with.

        Args:
            sr: SR images, detached from the SR network.
            hr: HR images of the same shape.

        Returns:
            the loss, a mean over samples; and a 0-dim value for each name in `measured`, also a mean over samples.
        """

    def begin_step(self) -> None:
        """Do what is done once per optimisation step, before its first micro-batch. Does nothing by default."""
