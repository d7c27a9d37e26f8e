"""One optimisation step: micro-batches, accumulation, clipping, and no update from a gradient that is not finite."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from paragonsr.data.sampling import Batch
from paragonsr.training.hardware import Hardware
from paragonsr.training.objective import Objective
from paragonsr.training.settings import Settings


@dataclass(frozen=True)
class Step:
    """What one step measured; the tensors stay on the device until they are handed over together."""

    values: dict[str, Tensor]
    """Raw value of each computed loss, mean over the batch."""
    norms: dict[str, Tensor]
    """L2 norm of each loss' gradient at the SR images."""
    weights: dict[str, float]
    grad_norm: Tensor
    """Norm of the parameters' gradient before clipping."""
    finite: Tensor
    """1 if the update was made, 0 if it was skipped."""
    lr: float
    samples: int


def to_device(images: np.ndarray, hardware: Hardware) -> Tensor:
    """uint8 N x H x W x 3 to float32 N x 3 x H x W in [0, 1] on the device."""
    tensor = torch.from_numpy(images)
    if hardware.device.type == "cuda":
        tensor = tensor.pin_memory().to(hardware.device, non_blocking=True)
    floats = tensor.permute(0, 3, 1, 2).to(torch.float32, memory_format=hardware.memory_format)
    return floats.div_(255)


def micro_batches(batch: Batch, size: int) -> Iterator[tuple[np.ndarray, np.ndarray, float, bool]]:
    """Cut a batch: LR, HR, share of the batch, and whether it is the last piece."""
    count = len(batch.hr)
    for start in range(0, count, size):
        stop = min(start + size, count)
        yield batch.lr[start:stop], batch.hr[start:stop], (stop - start) / count, stop == count


class Optimisation:
    """Network, objective and optimiser, and the step that brings them together.

    Args:
        network: the network itself, or its DistributedDataParallel.
        objective: the losses.
        optimiser: holds the network's parameters.
        hardware: device, precision, processes.
    """

    def __init__(self, network: nn.Module, objective: Objective, optimiser: Optimizer, hardware: Hardware) -> None:
        self.network, self.objective, self.optimiser, self.hardware = network, objective, optimiser, hardware
        self.scaler = hardware.scaler()
        self._parameters = [p for p in network.parameters() if p.requires_grad]

    def step(self, batch: Batch, settings: Settings, weights: dict[str, float], lr: float) -> Step:
        """Update the weights from this process' share of a batch.

        The gradient is the mean over all samples of the batch in all processes, however it is cut: N micro-batches
        of b samples give the step of one of N b samples.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.zero_grad(set_to_none=True)
        values: dict[str, Tensor] = {}
        norms: dict[str, Tensor] = {}
        for lr_images, hr_images, share, last in micro_batches(batch, settings.micro_batch):
            synchronised = nullcontext() if last or self.hardware.world == 1 else self.network.no_sync()  # type: ignore[operator]
            with synchronised:
                with self.hardware.autocast():
                    sr = self.network(to_device(lr_images, self.hardware))
                pull = self.objective.pull(sr, to_device(hr_images, self.hardware), weights)
                sr.backward(self.scaler.scale(pull.gradient * share).to(sr.dtype))
            for label, value in pull.values.items():
                values[label] = values.get(label, 0) + value * share
                norms[label] = norms.get(label, 0) + pull.norms[label] * share**2
        grad_norm, finite = self._update(settings.grad_clip)
        return Step(
            values,
            {label: norm.sqrt() for label, norm in norms.items()},
            weights,
            grad_norm,
            finite,
            lr,
            len(batch.hr) * self.hardware.world,
        )

    def _update(self, grad_clip: float | None) -> tuple[Tensor, Tensor]:
        self.scaler.unscale_(self.optimiser) if self.scaler.is_enabled() else None
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        finite = torch.isfinite(norm)
        if grad_clip is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, grad_clip, norm)
        if self.scaler.is_enabled():
            self.scaler.step(self.optimiser)
            self.scaler.update()
        elif self._skips_on_device:
            # The fused kernels leave weights and moments alone where found_inf is set: no host sync is needed.
            self.optimiser.grad_scale = None  # type: ignore[attr-defined]
            self.optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
            self.optimiser.step()
        elif finite:
            self.optimiser.step()
        return norm.detach(), finite.detach().float()

    @property
    def _skips_on_device(self) -> bool:
        fused = bool(self.optimiser.defaults.get("fused"))
        return fused and self.hardware.device.type == "cuda"
