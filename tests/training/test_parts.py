"""The parts of the step compared with independent formulas."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from paragonsr.archs.classic_options import NanoOptions
from paragonsr.data.sampling import Batch
from paragonsr.losses.base import Loss
from paragonsr.losses.options import L1Options, MSEOptions, MSSSIMLossOptions
from paragonsr.optim.ema import EMA
from paragonsr.optim.options import AdamOptions
from paragonsr.training.control.controller import Hyperparameters
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.step import TrainStep

CPU = DeviceContext(torch.device("cpu"), None, False)
LOSSES = [L1Options(), MSEOptions(loss_weight=3.0), MSSSIMLossOptions(loss_weight=0.05, scales=1)]


def _batch(count: int, seed: int = 0) -> Batch:
    hr = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return Batch(np.ascontiguousarray(hr[:, ::2, ::2]), hr, tuple(range(count)), ("random",) * count)


def test_the_loss_gradient_is_that_of_the_weighted_sum() -> None:
    sr, hr = torch.rand(2, 2, 3, 16, 16)
    objective = Objective(LOSSES, CPU)
    weights = objective.weights(0, {"mse": 0.5})
    assert weights == {"l1": 1.0, "mse": 1.5, "mssim": 0.05}
    gradient = objective.gradient(sr, hr, weights)
    leaf = sr.clone().requires_grad_()
    total = sum(weights[label] * module(leaf, hr) for label, module in objective.losses.items())
    (expected,) = torch.autograd.grad(total, leaf)  # type: ignore[arg-type]
    torch.testing.assert_close(gradient.total, expected, rtol=1e-5, atol=1e-9)
    for label, module in objective.losses.items():
        leaf = sr.clone().requires_grad_()
        (alone,) = torch.autograd.grad(module(leaf, hr), leaf)
        torch.testing.assert_close(gradient.norms[label], alone.square().sum())


class _Features(Loss):
    """Mean over the outputs of a convolution, computed in the training precision."""

    autocast = True

    def measure(self, sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
        kernel = torch.linspace(-0.2, 0.3, 64 * 27).reshape(64, 3, 3, 3)
        ours, theirs = (nn.functional.conv2d(image, kernel, padding=1).float() for image in (sr, hr))
        return 0.1 * (ours - theirs).square().mean()


def test_gradients_of_features_do_not_vanish_in_float16() -> None:
    """Each of the 4 million features has a gradient of 1e-8 or so, which float16 rounds to 0."""
    sr, hr = torch.rand(2, 4, 3, 128, 128)
    found = []
    for dtype in (None, torch.float16):
        objective = Objective([L1Options()], DeviceContext(torch.device("cpu"), dtype, channels_last=False))
        objective.losses = {"l1": _Features()}
        found.append(objective.gradient(sr, hr, {"l1": 1.0}).total)
    torch.testing.assert_close(found[1], found[0], rtol=0.05, atol=0.01 * found[0].abs().max().item())


def test_a_loss_without_weight_is_not_computed() -> None:
    objective = Objective([L1Options(), MSEOptions(loss_weight=0.0)], CPU)
    gradient = objective.gradient(*torch.rand(2, 1, 3, 8, 8), objective.weights(0, {}))
    assert set(gradient.values) == {"l1"}


@given(decay=st.floats(0.5, 0.9999), power=st.floats(0.3, 1.5), updates=st.integers(1, 12))
def test_the_moving_average_is_its_formula(decay: float, power: float, updates: int) -> None:
    network = nn.Linear(3, 2).double()
    ema = EMA(network, decay, power)
    expected = network.weight.detach().clone()
    for n in range(1, updates + 1):
        with torch.no_grad():
            network.weight.normal_()
        ema.update(network)
        d = min(decay, 1 - (1 + n) ** -power)
        expected = d * expected + (1 - d) * network.weight.detach()
    assert isinstance(ema.network, nn.Linear)
    torch.testing.assert_close(ema.network.weight, expected)


@settings(max_examples=10)
@given(st.integers(1, 7), st.integers(1, 7))
def test_micro_batches_of_any_size_make_the_same_step(count: int, micro: int) -> None:
    gradients = []
    for size in (count, micro):
        torch.manual_seed(0)
        network = NanoOptions().build(scale=2)
        optimiser = AdamOptions(lr=1e-3).build(parameters=network.parameters())
        train_step = TrainStep(network, Objective(LOSSES, CPU), optimiser, CPU)
        step = train_step.step(
            _batch(count), Hyperparameters(count, size, None), {"l1": 1, "mse": 3, "mssim": 0.05}, 1e-3
        )
        gradients.append([step.grad_norm, *(p.grad for p in network.parameters())])
        assert step.samples == count
        assert step.finite == 1
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_clipping_scales_the_whole_gradient() -> None:
    norms = []
    for clip in (None, 1e-3):
        torch.manual_seed(0)
        network = NanoOptions().build(scale=2)
        optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
        before = [p.detach().clone() for p in network.parameters()]
        train_step = TrainStep(network, Objective([L1Options()], CPU), optimiser, CPU)
        step = train_step.step(_batch(4), Hyperparameters(4, 4, clip), {"l1": 1.0}, 1.0)
        moved = torch.cat([(b - p.detach()).flatten() for b, p in zip(before, network.parameters(), strict=True)])
        norms.append((float(step.grad_norm), float(moved.norm())))
    assert norms[0][0] == norms[1][0] > 1e-3, "the reported norm is that before clipping"
    np.testing.assert_allclose(norms[0][1], norms[0][0], rtol=1e-5)
    np.testing.assert_allclose(norms[1][1], 1e-3, rtol=1e-3)
