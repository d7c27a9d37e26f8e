"""BatchNorm in training: micro-batches of two samples or more, and running statistics that only updates change."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from paragonsr.errors import UserError
from paragonsr.training.engine.device_context import DeviceContext


def smallest_micro_batch(network: nn.Module) -> int:
    """Minimum number of samples to pass through a network at once: 2 with BatchNorm, whose variance needs two; else 1.

    BatchNorm normalises by the statistics of the samples that pass together (Ioffe and Szegedy, 1502.03167), so a batch
    in micro-batches is not exactly the whole batch.
    """
    return 2 if any(isinstance(module, _BatchNorm) for module in network.modules()) else 1


def require_samples(network: nn.Module, micro_batch: int) -> None:
    """Refuse micro-batches that are too small for the network.

    Raises:
        UserError: the network has BatchNorm and one sample would pass at a time.
    """
    if micro_batch < smallest_micro_batch(network):
        raise UserError(
            "this network has BatchNorm, which needs at least two samples at a time",
            where="datasets.train.batch_size_per_gpu",
            fix="Use 2 or more, and a smaller accum_iter.",
        )


class RunningStatistics:
    """Running statistics of a network's BatchNorm layers, which every forward pass changes.

    Args:
        network: any network; one without BatchNorm has no statistics, and all methods do nothing.
    """

    def __init__(self, network: nn.Module) -> None:
        layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        self._buffers = [buffer for layer in layers for buffer in layer.buffers()]
        self._kept: list[Tensor] = []

    def keep(self) -> None:
        """Keep the current statistics."""
        self._kept = [buffer.clone() for buffer in self._buffers]

    def restore(self) -> None:
        """Return to the kept statistics."""
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(kept)

    def restore_unless(self, updated: Tensor) -> None:
        """Return to the kept statistics if the weights were not updated (`updated` is a 0-dim tensor, 0 or 1)."""
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(torch.where(updated > 0, buffer, kept))

    def average(self, device_context: DeviceContext) -> None:
        """Average the statistics over all processes, which have seen different samples."""
        if device_context.world == 1:
            return
        for buffer in self._buffers:
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= device_context.world
