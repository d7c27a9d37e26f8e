"""One training step: micro-batches, accumulation, clipping; a non-finite gradient makes no update."""

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
from paragonsr.training.engine.backward import backward
from paragonsr.training.engine.batch_norm import smallest_micro_batch
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.learner import Learner, LearnerStep
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.trainable import Trainable


@dataclass(frozen=True)
class StepResult:
    """Measurements of one step; the tensors stay on the device until they are fetched together."""

    values: dict[str, Tensor]
    """Unweighted value of each computed loss, mean over the batch."""
    norms: dict[str, Tensor]
    """L2 norm of each loss' gradient with respect to the SR images."""
    weights: dict[str, float]
    grad_norm: Tensor
    """Norm of the parameters' gradient before clipping."""
    half_grad_norm: Tensor | None
    """The same for the first half of this process' batch; None if not measured."""
    finite: Tensor
    """1 if the update was made, 0 if it was skipped."""
    lr: float
    samples: int
    micro_batch: int
    """Maximum number of samples that went through the network at once."""
    out_of_memory: int
    """Number of times that memory ran out and the step was repeated with micro-batches of half the size."""
    learners: dict[str, LearnerStep] = field(default_factory=dict)
    """Label of a learned loss -> measurements of its own update."""


Measured = tuple[dict[str, Tensor], dict[str, Tensor], Tensor | None]
"""Values of the losses, squared norms of their gradients, and the norm of the gradient of half the batch."""


def to_device(images: np.ndarray, device_context: DeviceContext) -> Tensor:
    """Convert uint8 N x H x W x 3 to float32 N x 3 x H x W in [0, 1] on the device."""
    tensor = torch.from_numpy(images)
    if device_context.device.type == "cuda":
        tensor = tensor.pin_memory().to(device_context.device, non_blocking=True)
    floats = tensor.permute(0, 3, 1, 2).to(torch.float32, memory_format=device_context.memory_format)
    return floats.div_(255)


def lq_images(batch: "Batch | MicroBatch", hr: Tensor, device_context: DeviceContext) -> Tensor:
    """LR images of a batch on the device: N x 3 x h x w float32 in [0, 1].

    Args:
        batch: holds the LR images, or the degradation that makes them on the device.
        hr: the HR images of the batch, on the device.
        device_context: device and memory layout.
    """
    if batch.lq is not None:
        return to_device(batch.lq, device_context)
    assert batch.degradation is not None
    with torch.no_grad():
        return batch.degradation.degrade(hr, batch.samples)


@dataclass(frozen=True)
class MicroBatch:
    """Part of a batch."""

    lq: np.ndarray | None
    hr: np.ndarray
    samples: tuple[int, ...]
    degradation: DeviceDegradation | None
    share: float
    """Size as a share of the batch."""
    done: int
    """Samples of the batch up to the end of this part."""


def micro_batches(batch: Batch, size: int, *, halves: bool, smallest: int = 1) -> Iterator[MicroBatch]:
    """Split a batch into micro-batches.

    Args:
        batch: the samples.
        size: maximum number of samples in a micro-batch.
        halves: whether a micro-batch ends at the middle of the batch.
        smallest: minimum number of samples in a micro-batch, 1 or 2. It takes precedence: 5 samples in micro-batches of
            2 are 2 and 3.
    """
    count = len(batch.hr)
    middle = count // 2 if halves else 0
    ends = [*_ends(middle, size, smallest), *(middle + end for end in _ends(count - middle, size, smallest))]
    start = 0
    for end in ends:
        lq = None if batch.lq is None else batch.lq[start:end]
        samples = batch.samples[start:end]
        yield MicroBatch(lq, batch.hr[start:end], samples, batch.degradation, (end - start) / count, end)
        start = end


def _ends(count: int, size: int, smallest: int) -> list[int]:
    """Ends of the micro-batches of `count` samples."""
    ends = [*range(size, count, size), count] if count else []
    if len(ends) > 1 and ends[-1] - ends[-2] < smallest:
        if size > smallest:
            ends[-2] -= 1
        else:
            del ends[-2]
    return ends


class TrainStep:
    """Training step of a network with its objective and optimiser.

    Args:
        network: the network itself.
        objective: the losses.
        optimiser: holds the network's parameters.
        device_context: device, precision, processes.
        forward: the network as it is called: compiled, or wrapped in DistributedDataParallel; by default the network.
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
        self._trainables: list[Trainable] = [self.main, *self.learners.values()]
        self.smallest = max(smallest_micro_batch(trainable.network) for trainable in self._trainables)
        """Smallest micro-batch that all networks allow."""
        self._proven = 0
        """Largest micro-batch that has fitted into memory."""

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

        The gradient is the mean over all samples of the batch in all processes, however the batch is split: N
        micro-batches of b samples give the same step as one of N b samples. If memory runs out, the same samples are
        repeated in micro-batches of half the size; the weights change only after all samples have succeeded.

        Args:
            batch: the samples.
            settings: micro-batch and clipping.
            weights: weight of each loss.
            lr: learning rate.
            learner_lrs: label of a learned loss -> its learning rate; losses not listed keep theirs.
            halves: also measure the gradient of half the batch (an even number of samples, two or more).

        Raises:
            UserError: memory runs out even with the smallest micro-batch.
        """
        self._begin(lr, learner_lrs or {})
        halves = halves and len(batch.hr) % 2 == 0 and len(batch.hr) >= 2 * self.smallest
        size, failures = min(settings.micro_batch, len(batch.hr)), 0
        measured = self._attempt(batch, size, weights, halves)
        while measured is None:
            if size <= self.smallest:
                raise UserError(
                    f"out of memory even with {'one sample' if size == 1 else 'two samples'} at a time",
                    where="training",
                    fix="Use a smaller patch (lq_size) or network.",
                )
            size, failures = max((size + 1) // 2, self.smallest), failures + 1
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
        for trainable in self._trainables:
            trainable.statistics.keep()

    def _attempt(self, batch: Batch, size: int, weights: dict[str, float], halves: bool) -> Measured | None:
        """Fill the gradients with micro-batches of `size`; None if memory ran out in any process.

        Several processes exchange gradients while computing them. A process that fails during the exchange cannot
        start over, so a size is first tried without the exchange, and the processes agree on the outcome.
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
                    f"out of memory with {size} samples at once, although this size had fitted before",
                    where="training in several processes",
                    fix="Resume with a smaller batch_size_per_gpu and a larger accum_iter.",
                ) from error
        # Outside the except block, which would keep the tensors of the failed attempt alive.
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
        """Fill the parameters' gradients; with `exchange`, average them over the processes in the last micro-batch."""
        self.main.begin()
        learners = {label: learner for label, learner in self.learners.items() if weights[label]}
        for learner in learners.values():
            learner.begin()
        values: dict[str, Tensor] = {}
        norms: dict[str, Tensor] = {}
        half = None
        count = len(batch.hr)
        for micro in micro_batches(batch, size, halves=halves, smallest=self.smallest):
            last = micro.done == count
            alone = self.device_context.world > 1 and not (last and exchange)
            hr = to_device(micro.hr, self.device_context)
            lq = lq_images(micro, hr, self.device_context)
            with self.forward.no_sync() if alone else nullcontext():  # type: ignore[operator]
                with self.device_context.autocast():
                    sr = self.forward(lq)
                gradient = self.objective.gradient(sr, hr, weights)
                backward(sr, self.main.scaler.scale(gradient.total * micro.share))
            for learner in learners.values():
                learner.accumulate(sr, hr, micro.share)
            for label, value in gradient.values.items():
                values[label] = values.get(label, 0) + value * micro.share
                norms[label] = norms.get(label, 0) + gradient.norms[label] * micro.share**2
            if halves and micro.done == count // 2:
                scale = self.main.scaler.scale(torch.full((), 0.5, device=self.device_context.device))
                half = self.main.gradient_norm() / scale
        return values, norms, half
