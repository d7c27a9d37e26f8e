"""Training of a learned loss: its network learns from the same micro-batches, after the SR network."""

from dataclasses import dataclass

import torch
from torch import Tensor

from paragonsr.losses.base import LearnedLoss
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.trainable import Trainable


@dataclass(frozen=True)
class LearnerStep:
    """Measurements of one update of a learner; 0-dim tensors on the device."""

    values: dict[str, Tensor]
    """`loss`, and the values that the loss itself reports: means over this process' share of the batch."""
    grad_norm: Tensor
    finite: Tensor
    """1 if the update was made, 0 if it was skipped."""


class Learner(Trainable):
    """Network of a learned loss, with its gradient accumulated over the micro-batches of a step.

    Args:
        loss: the loss, on the device.
        device_context: device, precision, processes.
    """

    def __init__(self, loss: LearnedLoss, device_context: DeviceContext) -> None:
        super().__init__(loss.network, loss.build_optimiser(), device_context)
        self.loss = loss
        self.base_lr: float = self.optimiser.param_groups[0]["lr"]
        self._values: dict[str, Tensor] = {}

    @property
    def _held(self) -> bool:
        """Whether the network does not learn now; its loss is still measured."""
        return bool(self.optimiser.param_groups[0]["lr"] == 0)

    @property
    def names(self) -> list[str]:
        """Names of the reported values."""
        return ["loss", *self.loss.measured]

    def begin(self) -> None:
        """Discard what an earlier attempt at the step accumulated."""
        super().begin()
        self._values = {}

    def accumulate(self, sr: Tensor, hr: Tensor, share: float) -> None:
        """Add the gradient of one micro-batch.

        Args:
            sr: SR images; their graph is not used.
            hr: HR images.
            share: size of the micro-batch as a share of the batch.
        """
        with self.device_context.autocast():
            loss, measured = self.loss.own_loss(sr.detach(), hr)
        if not self._held:
            self.scaler.scale(loss.float() * share).backward()
        for name, value in {"loss": loss.detach(), **measured}.items():
            self._values[name] = self._values.get(name, 0) + value.detach().float() * share

    def step(self) -> LearnerStep:
        """Update the network with the gradient accumulated in all processes; a rate of 0 skips the update."""
        if self._held:
            absent = torch.full((), torch.nan, device=self.device_context.device)
            return LearnerStep(self._values, absent, torch.zeros_like(absent))
        if self.device_context.world > 1:
            self.average_gradients()
        norm, finite = self.update()
        return LearnerStep(self._values, norm, finite)
