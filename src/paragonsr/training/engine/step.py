"""One training step: micro-batches, accumulation, clipping, and no update from a gradient that is not finite."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from paragonsr.data.sampling import Batch
from paragonsr.degradation.base import DeviceDegradation
from paragonsr.errors import UserError
from paragonsr.inference.memory import is_out_of_memory, release
from paragonsr.training.control.controller import Hyperparameters
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.learner import Learner, LearnerStep
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.trainable import Trainable


@dataclass(frozen=True)
class StepResult:
    """What one step measured; the tensors stay on the device until they are fetched together."""

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
    """How often memory ran out, and the step was repeated with micro-batches of half the size."""
    learners: dict[str, LearnerStep] = field(default_factory=dict)
    """Label of a learned loss -> what its own update measured."""


Measured = tuple[dict[str, Tensor], dict[str, Tensor], Tensor | None]
"""Values of the losses, squared norms of their gradients, and the norm of the gradient of half the batch."""


def to_device(images: np.ndarray, device_context: DeviceContext) -> Tensor:
    """uint8 N x H x W x 3 to float32 N x 3 x H x W in [0, 1] on the device."""
    tensor = torch.from_numpy(images)
    if device_context.device.type == "cuda":
        tensor = tensor.pin_memory().to(device_context.device, non_blocking=True)
    floats = tensor.permute(0, 3, 1, 2).to(torch.float32, memory_format=device_context.memory_format)
    return floats.div_(255)


def lq_images(batch: "Batch | MicroBatch", hr: Tensor, device_context: DeviceContext) -> Tensor:
    """The LR images of a batch on the device: N x 3 x h x w float32 in [0, 1].

    Args:
        batch: its LR images, or what makes them on the device.
        hr: its HR images on the device.
        device_context: device and memory layout.
    """
    if batch.lq is not None:
        return to_device(batch.lq, device_context)
    assert batch.degradation is not None
    with torch.no_grad():
        return batch.degradation.degrade(hr, batch.samples)


@dataclass(frozen=True)
class MicroBatch:
    """A part of a batch."""

    lq: np.ndarray | None
    hr: np.ndarray
    samples: tuple[int, ...]
    degradation: DeviceDegradation | None
    share: float
    """Of the batch."""
    done: int
    """Samples of the batch up to its end."""


def micro_batches(batch: Batch, size: int, *, halves: bool) -> Iterator[MicroBatch]:
    """Split a batch into micro-batches of at most `size`; with `halves`, one of them ends in the middle."""
    count = len(batch.hr)
    ends = {*range(size, count, size), count}
    if halves:
        middle = count // 2
        ends = {*range(size, middle, size), middle, *range(middle + size, count, size), count}
    start = 0
    for end in sorted(ends):
        lq = None if batch.lq is None else batch.lq[start:end]
        samples = batch.samples[start:end]
        yield MicroBatch(lq, batch.hr[start:end], samples, batch.degradation, (end - start) / count, end)
        start = end


class TrainStep:
    """Network, objective and optimiser, and the step that brings them together.

    Args:
        network: the network itself.
        objective: the losses.
        optimiser: holds the network's parameters.
        device_context: device, precision, processes.
        forward: the network as it is called: compiled, or its DistributedDataParallel; default the network itself.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        optimiser: Optimizer,
        device_context: DeviceContext,
        forward: nn.Module | None = None,
    ) -> None:
        self.main = Trainable(network, optimiser, device_context)
        self.learners = {label: Learner(loss, device_context) for label, loss in objective.learned.items()}
        self.objective, self.device_context = objective, device_context
        self.forward = network if forward is None else forward
        self._proven = 0
        """Largest micro-batch that has fitted."""

    def step(
        self,
        batch: Batch,
        settings: Hyperparameters,
        weights: dict[str, float],
        lr: float,
        learner_lrs: Mapping[str, float] | None = None,
        *,
        halves: bool = False,
    ) -> StepResult:
        """Update the weights from this process' share of a batch.

        The gradient is the mean over all samples of the batch in all processes, however it is split: N micro-batches
        of b samples give the step of one of N b samples. Where memory runs out, the same samples are passed again in
        micro-batches of half the size; the weights are changed only when all of them have been through.

        Args:
            batch: the samples.
            settings: micro-batch and clipping.
            weights: weight of each loss.
            lr: learning rate.
            learner_lrs: label of a learned loss -> its learning rate; those not named keep theirs.
            halves: also measure the gradient of half the batch (an even number of samples, two or more).

        Raises:
            UserError: memory runs out even with one sample.
        """
        self._begin(lr, learner_lrs or {})
        halves = halves and len(batch.hr) % 2 == 0
        size, failures = min(settings.micro_batch, len(batch.hr)), 0
        measured = self._attempt(batch, size, weights, halves)
        while measured is None:
            if size == 1:
                raise UserError(
                    "out of memory even with one sample at a time",
                    where="training",
                    fix="Use a smaller patch (lq_size) or network.",
                )
            size, failures = (size + 1) // 2, failures + 1
            measured = self._attempt(batch, size, weights, halves)
        self._proven = max(self._proven, size)
        values, norms, half = measured
        grad_norm, finite = self.main.update(settings.grad_clip)
        return StepResult(
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
            {label: self.learners[label].step() for label in self.learners if weights[label]},
        )

    def _begin(self, lr: float, learner_lrs: Mapping[str, float]) -> None:
        self.main.set_lr(lr)
        for label, learner in self.learners.items():
            learner.set_lr(learner_lrs.get(label, learner.base_lr))
            learner.loss.begin_step()

    def _attempt(self, batch: Batch, size: int, weights: dict[str, float], halves: bool) -> Measured | None:
        """Fill the gradients with micro-batches of `size`; None where memory ran out, in any of the processes.

        Several processes exchange gradients while they are computed. One that left in the middle of that cannot start
        over, so a size is first tried without the exchange, and the processes agree on the outcome.
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
                    fix="Resume with a smaller batch_size_per_gpu and a larger accum_iter.",
                ) from error
        # Outside of the handler, which would keep the failed attempt's tensors alive.
        if careful and self.device_context.any_process(measured is None):
            measured = None
        if measured is None:
            release(self.device_context.device)
        elif careful:
            self.main.average_gradients()
        return measured

    def _gradients(
        self, batch: Batch, size: int, weights: dict[str, float], halves: bool, *, exchange: bool
    ) -> Measured:
        """Fill the parameters' gradients; with `exchange`, several processes' mean in the last micro-batch."""
        self.main.zero_grad()
        learners = {label: learner for label, learner in self.learners.items() if weights[label]}
        for learner in learners.values():
            learner.begin()
        values: dict[str, Tensor] = {}
        norms: dict[str, Tensor] = {}
        half = None
        count = len(batch.hr)
        for micro in micro_batches(batch, size, halves=halves):
            last = micro.done == count
            alone = self.device_context.world > 1 and not (last and exchange)
            hr = to_device(micro.hr, self.device_context)
            lq = lq_images(micro, hr, self.device_context)
            with self.forward.no_sync() if alone else nullcontext():  # type: ignore[operator]
                with self.device_context.autocast():
                    sr = self.forward(lq)
                gradient = self.objective.gradient(sr, hr, weights)
                sr.backward(self.main.scaler.scale(gradient.total * micro.share).to(sr.dtype))
            for learner in learners.values():
                learner.accumulate(sr, hr, micro.share)
            for label, value in gradient.values.items():
                values[label] = values.get(label, 0) + value * micro.share
                norms[label] = norms.get(label, 0) + gradient.norms[label] * micro.share**2
            if halves and micro.done == count // 2:
                scale = self.main.scaler.scale(torch.full((), 0.5, device=self.device_context.device))
                half = self.main.gradient_norm() / scale
        return values, norms, half
