"""SOAP compared with the paper's algorithm in plain form, one parameter at a time, in float64."""

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from paragonsr.optim.optimisers import flatten, unflatten
from paragonsr.optim.options import OptimiserOptions
from paragonsr.optim.soap import SOAP, renewed

SHAPES = [(8, 3, 3, 3), (8,), (8, 8, 3, 3), (8, 8, 3, 3), (8, 1, 3, 3), (1, 8, 1, 1), (5, 7), (4, 8, 1, 1), (8,)]
LR, BETAS, EVERY, LONGEST = 0.01, (0.9, 0.95), 3, 8


def _parameters(shapes: Sequence[tuple[int, ...]] = SHAPES) -> list[nn.Parameter]:
    torch.manual_seed(1)
    return [nn.Parameter(torch.randn(shape)) for shape in shapes]


def _gradients(step: int, shapes: Sequence[tuple[int, ...]] = SHAPES) -> list[Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    scales = [torch.logspace(0, -2, shape[0]).view(-1, *[1] * (len(shape) - 1)) for shape in shapes]
    return [torch.randn(shape, generator=generator) * scale for shape, scale in zip(shapes, scales, strict=True)]


def _train(optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter], steps: Sequence[int]) -> None:
    shapes = [tuple(p.shape) for p in parameters]
    for step in steps:
        for p, gradient in zip(parameters, _gradients(step, shapes), strict=True):
            p.grad = gradient
        optimiser.step()


class PlainSOAP:
    """Algorithm 3 of the paper for one parameter, with its QR, and bases for sides that are not too long."""

    def __init__(self, weight: Tensor, decay: float) -> None:
        self.weight, self.decay, self.step = weight.double(), decay, 0
        self.m = self.v = torch.zeros(())

    def update(self, gradient: Tensor) -> None:
        g = gradient.double()
        g = g.reshape(len(g), -1) if g.ndim > 1 and 1 not in g.reshape(len(g), -1).shape else g.reshape(-1, 1)
        if not self.m.ndim:
            self.m, self.v = torch.zeros_like(g), torch.zeros_like(g)
            self.covariances = [g @ g.T, g.T @ g]
            self.bases = [
                torch.linalg.eigh(c)[1].flip(1) if self._has_basis(c) else torch.eye(len(c)).double()
                for c in self.covariances
            ]
            return
        self.step += 1
        left, right = self.bases
        self.m = BETAS[0] * self.m + (1 - BETAS[0]) * g
        self.v = BETAS[1] * self.v + (1 - BETAS[1]) * (left.T @ g @ right) ** 2
        moment = left.T @ self.m @ right / (1 - BETAS[0] ** self.step)
        change = left @ (moment / ((self.v / (1 - BETAS[1] ** self.step)).sqrt() + 1e-8)) @ right.T
        self.weight = (1 - LR * self.decay) * self.weight - LR * change.reshape(self.weight.shape)
        both = zip(self.covariances, (g @ g.T, g.T @ g), strict=True)
        self.covariances = [BETAS[1] * old + (1 - BETAS[1]) * new for old, new in both]

    def renew(self) -> None:
        for axis, covariance in enumerate(self.covariances):
            if self._has_basis(covariance):
                old = self.bases[axis]
                order = (old.T @ covariance @ old).diagonal().argsort(descending=True)
                self.v = self.v.index_select(axis, order)
                self.bases[axis] = torch.linalg.qr(covariance @ old[:, order])[0]

    def _has_basis(self, covariance: Tensor) -> bool:
        return 1 not in self.m.shape and len(covariance) <= LONGEST


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_it_is_the_papers_algorithm(decay: float) -> None:
    """On sides whose covariance has full rank from the start, because the null space has no unique basis."""
    shapes = [(8, 8), (8, 2, 2, 2), (8, 8), (8, 3, 3, 3), (16, 4), (8, 1, 3, 3), (8,), (1, 8, 1, 1)]
    parameters = _parameters(shapes)
    plain = [PlainSOAP(p.detach().clone(), decay) for p in parameters]
    optimiser = SOAP(parameters, LR, BETAS, weight_decay=decay, renew_every=EVERY, max_side=LONGEST)
    for step in range(1, 15):
        _train(optimiser, parameters, [step])
        for one, gradient in zip(plain, _gradients(step, shapes), strict=True):
            one.update(gradient)
            if step % EVERY == 0:
                one.renew()
        for p, one in zip(parameters, plain, strict=True):
            torch.testing.assert_close(p.detach().double(), one.weight, atol=1e-4, rtol=1e-3)


def test_it_descends_an_ill_conditioned_slope_that_adam_is_slow_on() -> None:
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(8, 8))[0] for _ in range(2))
    spread = torch.logspace(0, -3, 8)

    def loss_after(make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> float:
        weight = nn.Parameter(left @ torch.ones(8, 8) @ right)
        optimiser = make([weight])
        for _ in range(200):
            optimiser.zero_grad()
            loss = (spread[:, None] * (left.T @ weight @ right.T) * spread).square().sum()
            loss.backward()
            optimiser.step()
        return loss.item()

    assert loss_after(lambda p: SOAP(p, 0.03)) < 0.1 * loss_after(lambda p: torch.optim.Adam(p, 0.03))


def test_a_side_that_is_too_long_keeps_its_coordinates() -> None:
    parameters = _parameters([(8, 8, 3, 3)])
    optimiser = SOAP(parameters, LR, max_side=16)
    _train(optimiser, parameters, [1, 2])
    assert "left_basis" in optimiser.state[parameters[0]]
    assert "right_basis" not in optimiser.state[parameters[0]]


def test_the_state_goes_to_a_file_and_back_to_the_bit() -> None:
    straight, halted, resumed = (_parameters() for _ in range(3))
    optimisers = [SOAP(p, LR, BETAS, renew_every=EVERY) for p in (straight, halted, resumed)]
    _train(optimisers[0], straight, range(1, 12))
    _train(optimisers[1], halted, range(1, 5))
    for p, other in zip(resumed, halted, strict=True):
        p.data.copy_(other.data)
    tensors, rest = flatten(optimisers[1])
    assert not rest["numbers"], "everything is a tensor"
    unflatten(optimisers[2], {k: v.clone() for k, v in tensors.items()}, rest)
    _train(optimisers[2], resumed, range(5, 12))
    for p, other in zip(straight, resumed, strict=True):
        assert torch.equal(p, other)


def test_found_inf_leaves_everything_as_it_is() -> None:
    parameters = _parameters()
    optimiser = SOAP(parameters, LR, BETAS, weight_decay=0.1, renew_every=100)
    _train(optimiser, parameters, range(1, 5))
    weights = [p.detach().clone() for p in parameters]
    state = {k: v.clone() for k, v in flatten(optimiser)[0].items()}
    optimiser.found_inf = torch.ones(())
    for p in parameters:
        p.grad = torch.full_like(p, float("nan"))
    optimiser.step()
    for p, before in zip(parameters, weights, strict=True):
        assert torch.equal(p, before)
    for name, after in flatten(optimiser)[0].items():
        assert torch.equal(after, state[name]), name


def test_a_first_gradient_that_is_not_finite_does_no_harm() -> None:
    parameters = _parameters()
    optimiser = SOAP(parameters, LR, BETAS, renew_every=EVERY)
    optimiser.found_inf = torch.ones(())
    for p in parameters:
        p.grad = torch.full_like(p, float("inf"))
    optimiser.step()
    optimiser.found_inf = torch.zeros(())
    _train(optimiser, parameters, range(1, 9))
    assert all(p.isfinite().all() for p in parameters)
    assert all(v.isfinite().all() for v in flatten(optimiser)[0].values())


def test_a_parameter_may_come_later_or_never() -> None:
    alone, both = _parameters([(8, 8, 3, 3)]), _parameters([(8, 8, 3, 3), (8, 8, 3, 3)])
    _train(SOAP(alone, LR, renew_every=EVERY), alone, range(4, 10))
    optimiser = SOAP(both, LR, renew_every=EVERY)
    both[1].requires_grad_(False)
    for step in range(1, 10):
        both[0].grad = _gradients(step, [(8, 8, 3, 3)])[0] if step > 3 else None
        optimiser.step()
    assert torch.equal(alone[0], both[0]), "the first three steps had nothing to do"
    assert not optimiser.state[both[1]]


def test_the_memory_layout_changes_nothing() -> None:
    plain, last = _parameters([(8, 4, 3, 3)]), _parameters([(8, 4, 3, 3)])
    last[0].data = last[0].data.to(memory_format=torch.channels_last)
    for parameters in (plain, last):
        _train(SOAP(parameters, LR, renew_every=EVERY), parameters, range(1, 9))
    assert torch.equal(plain[0], last[0])


@given(seed=st.integers(0, 1000), side=st.integers(2, 12), spread=st.floats(0, 5))
def test_a_renewal_is_the_q_of_a_qr_decomposition(seed: int, side: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    turned = torch.linalg.qr(torch.randn(2, side, side, generator=generator, dtype=torch.float64))[0]
    covariance = turned * torch.logspace(0, -spread, side, dtype=torch.float64) @ turned.mT
    basis = torch.linalg.qr(turned + 1e-3 * torch.randn(2, side, side, generator=generator))[0]
    new, order = renewed(covariance, basis)
    sorted_basis = basis.gather(-1, order.unsqueeze(-2).expand_as(basis))
    expected = torch.linalg.qr(covariance @ sorted_basis)[0]
    signs = (expected * new).sum(-2, keepdim=True).sign()
    torch.testing.assert_close(new.mT @ new, torch.eye(side, dtype=torch.float64).expand_as(new), atol=1e-9, rtol=0)
    torch.testing.assert_close(expected * signs, new, atol=1e-4, rtol=0)


def test_a_covariance_of_nothing_keeps_the_basis() -> None:
    basis = torch.linalg.qr(torch.randn(1, 6, 6))[0]
    new, order = renewed(torch.zeros(1, 6, 6), basis)
    assert torch.equal(new, basis)
    assert order.tolist() == [list(range(6))]


@pytest.mark.parametrize("name", ["SOAP", "Muon"])
def test_nothing_of_the_state_is_left_on_the_cpu_when_it_is_loaded(name: str) -> None:
    """torch loads a tensor named "step" onto the CPU, regardless of the device of the parameters."""
    kind = OptimiserOptions.choose(name)
    assert kind is not None
    parameter = torch.nn.Parameter(torch.ones(4, 4, 3, 3))
    optimiser = kind.model_validate({"type": name, "lr": 1e-3}).build(parameters=[parameter])
    parameter.grad = torch.rand_like(parameter)
    optimiser.step()
    assert "step" not in optimiser.state[parameter]
