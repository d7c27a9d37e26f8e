"""One optimisation step: micro-batches, accumulation, clipping, and no update from a gradient that is not finite."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from paragonsr.data.sampling import Batch
from paragonsr.errors import UserError
from paragonsr.inference.memory import is_out_of_memory, release
from paragonsr.training.control.controller import Hyperparameters
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.objective import Objective


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
    half_grad_norm: Tensor | None
    """The same for the gradient of this process' first half of the batch; None where it was not measured."""
    finite: Tensor
    """1 if the update was made, 0 if it was skipped."""
    lr: float
    samples: int
    micro_batch: int
    """Most samples that went through the network at once."""
    out_of_memory: int
    """How often memory ran out, and the step was begun anew in pieces of half the size."""


Measured = tuple[dict[str, Tensor], dict[str, Tensor], Tensor | None]
"""Values of the losses, squared norms of their gradients, and the norm of the gradient of half the batch."""


def to_device(images: np.ndarray, device_context: DeviceContext) -> Tensor:
    """uint8 N x H x W x 3 to float32 N x 3 x H x W in [0, 1] on the device."""
    tensor = torch.from_numpy(images)
    if device_context.device.type == "cuda":
        tensor = tensor.pin_memory().to(device_context.device, non_blocking=True)
    floats = tensor.permute(0, 3, 1, 2).to(torch.float32, memory_format=device_context.memory_format)
    return floats.div_(255)


@dataclass(frozen=True)
class MicroBatch:
    """A micro-batch."""

    lr: np.ndarray
    hr: np.ndarray
    share: float
    """Of the batch."""
    done: int
    """Samples of the batch up to its end."""


def micro_batches(batch: Batch, size: int, *, halves: bool) -> Iterator[MicroBatch]:
    """Cut a batch into micro-batches of at most `size`; with `halves`, one of them ends in the middle."""
    count = len(batch.hr)
    ends = {*range(size, count, size), count}
    if halves:
        middle = count // 2
        ends = {*range(size, middle, size), middle, *range(middle + size, count, size), count}
    start = 0
    for end in sorted(ends):
        yield MicroBatch(batch.lr[start:end], batch.hr[start:end], (end - start) / count, end)
        start = end


class TrainStep:
    """Network, objective and optimiser, and the step that brings them together.

    Args:
        network: the network itself, or its DistributedDataParallel.
        objective: the losses.
        optimiser: holds the network's parameters.
        hardware: device, precision, processes.
    """

    def __init__(
        self, network: nn.Module, objective: Objective, optimiser: Optimizer, device_context: DeviceContext
    ) -> None:
        self.network, self.objective, self.optimiser, self.device_context = (
            network,
            objective,
            optimiser,
            device_context,
        )
        self.scaler = device_context.scaler()
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self._proven = 0
        """Largest micro-batch that has fitted."""

    def step(
        self, batch: Batch, settings: Hyperparameters, weights: dict[str, float], lr: float, *, halves: bool = False
    ) -> Step:
        """Update the weights from this process' share of a batch.

        The gradient is the mean over all samples of the batch in all processes, however it is cut: N micro-batches
        of b samples give the step of one of N b samples. Where memory runs out, the same samples are begun anew in
        pieces of half the size; the weights are touched only once all of them have been through.

        Args:
            batch: the samples.
            settings: micro-batch and clipping.
            weights: weight of each loss.
            lr: learning rate.
            halves: also measure the gradient of half the batch (an even number of samples, two or more).
        """
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        halves = halves and len(batch.hr) % 2 == 0
        size, failures = min(settings.micro_batch, len(batch.hr)), 0
        measured = self._attempt(batch, size, weights, halves)
        while measured is None:
            if size == 1:
                raise UserError(
                    "memory runs out even with one sample at a time",
                    where="training",
                    fix="take a smaller patch (lq_size) or network",
                )
            size, failures = (size + 1) // 2, failures + 1
            measured = self._attempt(batch, size, weights, halves)
        self._proven = max(self._proven, size)
        values, norms, half = measured
        grad_norm, finite = self._update(settings.grad_clip)
        return Step(
            values,
            {label: norm.sqrt() for label, norm in norms.items()},
            weights,
            grad_norm,
            half,
            finite,
            lr,
            len(batch.hr) * self.device_context.world,
            size,
            failures,
        )

    def _attempt(self, batch: Batch, size: int, weights: dict[str, float], halves: bool) -> Measured | None:
        """Fill the gradients with pieces of `size`; None where memory ran out, in any of the processes.

        Several processes exchange gradients while they are computed. One that has left in the middle of that cannot
        begin anew, so a size is first tried without, and the processes agree on how it went.
        """
        several = self.device_context.world > 1
        careful = several and size > self._proven
        measured = None
        try:
            measured = self._gradients(batch, size, weights, halves, exchange=several and not careful)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if several and not careful:
                raise UserError(
                    f"memory ran out with {size} samples at once, which had fitted before",
                    where="training in several processes",
                    fix="resume with a smaller batch_size_per_gpu and a larger accum_iter",
                ) from error
        # Outside of the handler, which would keep the failed attempt's tensors alive.
        if careful and self.device_context.any_process(measured is None):
            measured = None
        if measured is None:
            release(self.device_context.device)
        elif careful:
            for gradient in self._present_gradients():
                dist.all_reduce(gradient)
                gradient /= self.device_context.world
        return measured

    def _gradients(
        self, batch: Batch, size: int, weights: dict[str, float], halves: bool, *, exchange: bool
    ) -> Measured:
        """Fill the parameters' gradients; with `exchange`, several processes' mean in the last piece."""
        self.optimiser.zero_grad(set_to_none=True)
        values: dict[str, Tensor] = {}
        norms: dict[str, Tensor] = {}
        half = None
        count = len(batch.hr)
        for piece in micro_batches(batch, size, halves=halves):
            last = piece.done == count
            alone = self.device_context.world > 1 and not (last and exchange)
            with self.network.no_sync() if alone else nullcontext():  # type: ignore[operator]
                with self.device_context.autocast():
                    sr = self.network(to_device(piece.lr, self.device_context))
                gradient = self.objective.gradient(sr, to_device(piece.hr, self.device_context), weights)
                sr.backward(self.scaler.scale(gradient.gradient * piece.share).to(sr.dtype))
            for label, value in gradient.values.items():
                values[label] = values.get(label, 0) + value * piece.share
                norms[label] = norms.get(label, 0) + gradient.norms[label] * piece.share**2
            if halves and piece.done == count // 2:
                scale = self.scaler.scale(torch.full((), 0.5, device=self.device_context.device))
                half = nn.utils.get_total_norm(self._present_gradients()) / scale
        return values, norms, half

    def _present_gradients(self) -> list[Tensor]:
        return [p.grad for p in self._parameters if p.grad is not None]

    def _update(self, grad_clip: float | None) -> tuple[Tensor, Tensor]:
        self.scaler.unscale_(self.optimiser) if self.scaler.is_enabled() else None
        norm = nn.utils.get_total_norm(self._present_gradients())
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
        return fused and self.device_context.device.type == "cuda"
