"""What each part of a perceptual step costs: the networks, each loss, the feature network, the discriminator.

python -m benchmarks.profile_finish [--batch 8] [--side 32] [--network-d patchgan] [--steps 15]

A step of a nano, x2, with L1, perceptual features and a discriminator: in bf16 on a CUDA GPU if there is one, else on
one thread of the CPU, whose CPU time is counted. Its parts are called one after the other as the step calls them;
`whole step` is the step itself. Values are medians.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from paragonsr.archs.classic_options import NanoOptions
from paragonsr.data.sampling import Batch
from paragonsr.discriminators.options import DiscriminatorOptions
from paragonsr.losses.adversarial_options import GANOptions
from paragonsr.losses.options import L1Options, LossOptions
from paragonsr.losses.perceptual_options import PerceptualOptions
from paragonsr.timing import clock_for
from paragonsr.training.control.controller import Hyperparameters
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.step import TrainStep, to_device

SCALE = 2
CHOICE: TypeAdapter[DiscriminatorOptions] = TypeAdapter(DiscriminatorOptions)


class Profile:
    """Times the parts of a step.

    Args:
        network_d: `type` of the discriminator.
        batch: samples.
        side: side of the LR patches.
    """

    def __init__(self, network_d: str, batch: int, side: int) -> None:
        torch.manual_seed(0)
        cuda = torch.cuda.is_available()
        device = torch.device("cuda" if cuda else "cpu")
        self._device_context = DeviceContext(device, torch.bfloat16 if cuda else None, channels_last=True)
        self._clock = clock_for(device, torch.get_num_threads())
        hr = np.random.default_rng(0).integers(0, 256, (batch, SCALE * side, SCALE * side, 3), np.uint8)
        lq = np.ascontiguousarray(hr[:, ::SCALE, ::SCALE])
        self._batch = Batch(lq, hr, tuple(range(batch)), ("random",) * batch)
        discriminator = CHOICE.validate_python({"type": network_d})
        losses: list[LossOptions] = [L1Options(), PerceptualOptions(), GANOptions(network_d=discriminator)]
        self._objective = Objective(losses, self._device_context)
        network = NanoOptions().build(scale=SCALE).to(device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
        self._step = TrainStep(network, self._objective, optimiser, self._device_context)
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        began = self._clock()
        yield
        self.seconds[name].append(self._clock() - began)

    def whole(self) -> None:
        """Time a step as training does it."""
        weights = self._objective.weights(0, {})
        count = len(self._batch.hr)
        with self._part("whole step"):
            self._step.step(self._batch, Hyperparameters(count, count, None), weights, 1e-5)

    def parts(self) -> None:
        """Time the same, part by part."""
        weights, step = self._objective.weights(0, {}), self._step
        assert self._batch.lq is not None
        with self._part("images to the device"):
            lq, hr = (to_device(images, self._device_context) for images in (self._batch.lq, self._batch.hr))
        with self._part("discriminator: spectral norms"):
            for learner in step.learners.values():
                learner.begin()
                learner.loss.begin_step()
        step.main.begin()
        with self._part("SR network: forward"), self._device_context.autocast():
            sr: Tensor = step.forward(lq)
        total = torch.zeros_like(sr, dtype=torch.float32)
        for label in self._objective.labels:
            with self._part(f"loss {label}: value and gradient"):
                found = self._objective.gradient(sr, hr, dict.fromkeys(weights, 0.0) | {label: weights[label]})
                total += found.total
        with self._part("SR network: backward"):
            sr.backward(total.to(sr.dtype))
        with self._part("discriminator: its loss and gradient"):
            for learner in step.learners.values():
                learner.accumulate(sr, hr, 1.0)
        with self._part("SR network: update"):
            step.main.update(None)
        with self._part("discriminator: update"):
            for learner in step.learners.values():
                learner.step()
        self._features(sr, hr)

    def _features(self, sr: Tensor, hr: Tensor) -> None:
        """Time the passes of the feature network, which belong to the perceptual loss."""
        (network,) = [loss.features for loss in self._objective.losses.values() if hasattr(loss, "features")]
        assert isinstance(network, torch.nn.Module)
        with self._device_context.autocast():
            with self._part("  of it, features of HR"):
                network(hr)
            with self._part("  of it, features of SR"):
                network(sr.detach().requires_grad_())

    def lines(self) -> Iterator[str]:
        """Milliseconds of each part and its share of the whole step, in the order of the step."""
        whole = statistics.median(self.seconds["whole step"])
        features = [name for name in self.seconds if name.startswith("  ")]
        for name, seconds in self.seconds.items():
            if name not in features:
                yield _line(name, statistics.median(seconds), whole)
            if name.startswith("loss perceptual"):
                yield from (_line(part, statistics.median(self.seconds[part]), whole) for part in features)


def _line(name: str, seconds: float, whole: float) -> str:
    return f"{name:52}{1000 * seconds:9.1f}{seconds / whole:8.1%}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--network-d", default="patchgan")
    parser.add_argument("--steps", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(1)
    profile = Profile(given.network_d, given.batch, given.side)
    for turn in range(given.steps + 2):
        profile.whole()
        profile.parts()
        if turn < 2:  # the first steps select kernels
            profile.seconds.clear()
    print(
        f"nano x{SCALE}, {given.batch} x {given.side} x {given.side}, {given.network_d}, median of {given.steps} steps"
    )
    print(f"{'':52}{'ms':>9}{'share':>8}")
    print("\n".join(profile.lines()))


if __name__ == "__main__":
    main()
