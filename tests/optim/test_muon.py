"""Muon: orthogonalised momentum on hidden layers, Adam elsewhere."""

import math

import pytest
import torch
from torch import nn

from paragonsr.optim.muon import Muon, is_hidden, orthogonalised
from paragonsr.optim.optimisers import flatten, unflatten


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (9, 9)])
def test_it_orthogonalises_about(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape)
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    done = orthogonalised(matrices)
    assert torch.linalg.svdvals(done).sub(1).abs().max() < 0.35
    cosine = torch.nn.functional.cosine_similarity(done.flatten(1), (u @ v).flatten(1))
    assert cosine.min() > 0.97


@pytest.mark.parametrize(
    ("shape", "hidden"),
    [
        ((16, 16, 3, 3), True),
        ((16, 16), True),
        ((12, 16, 3, 3), True),
        ((16, 3, 3, 3), False),
        ((16, 1, 3, 3), False),
        ((1, 16, 1, 1), False),
        ((16,), False),
    ],
)
def test_which_parameters_are_hidden_layers(shape: tuple[int, ...], hidden: bool) -> None:
    assert is_hidden(nn.Parameter(torch.zeros(shape))) is hidden


def test_a_hidden_layer_moves_by_the_orthogonalised_nesterov_momentum() -> None:
    weight = nn.Parameter(torch.randn(8, 4, 3, 3))
    expected, momentum = weight.detach().clone(), torch.zeros(8, 36)
    optimiser = Muon([weight], lr=0.01, momentum=0.9, weight_decay=0.1)
    for step in range(4):
        weight.grad = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(step))
        gradient = weight.grad.reshape(8, 36)
        momentum = 0.9 * momentum + gradient
        change = 0.2 * math.sqrt(36) * orthogonalised((gradient + 0.9 * momentum)[None])[0]
        expected = expected * (1 - 0.01 * 0.1) - 0.01 * change.reshape(8, 4, 3, 3)
        optimiser.step()
        torch.testing.assert_close(weight.detach(), expected)


def test_everything_else_moves_by_adam() -> None:
    ours, theirs = (
        [nn.Parameter(torch.linspace(-1, 1, 27).view(3, 1, 3, 3)), nn.Parameter(torch.ones(5))] for _ in "ab"
    )
    muon, adam = Muon(ours, lr=0.01, betas=(0.9, 0.99)), torch.optim.Adam(theirs, lr=0.01, betas=(0.9, 0.99))
    for step in range(5):
        generator = torch.Generator().manual_seed(step)
        for one, other in zip(ours, theirs, strict=True):
            one.grad = other.grad = torch.randn(one.shape, generator=generator)
        muon.step()
        adam.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_the_state_goes_to_a_file_and_back_to_the_bit() -> None:
    shapes = [(8, 4, 3, 3), (8,), (8, 3, 3, 3)]
    runs = [[nn.Parameter(torch.ones(shape)) for shape in shapes] for _ in range(2)]
    optimisers = [Muon(parameters, lr=0.01) for parameters in runs]

    def train(which: int, steps: range) -> None:
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            for p in runs[which]:
                p.grad = torch.randn(p.shape, generator=generator)
            optimisers[which].step()

    train(0, range(3))
    for p, other in zip(runs[1], runs[0], strict=True):
        p.data.copy_(other.data)
    tensors, rest = flatten(optimisers[0])
    unflatten(optimisers[1], {k: v.clone() for k, v in tensors.items()}, rest)
    for which in range(2):
        train(which, range(3, 7))
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


def test_found_inf_leaves_everything_as_it_is() -> None:
    parameters = [nn.Parameter(torch.ones(8, 4, 3, 3)), nn.Parameter(torch.ones(8))]
    optimiser = Muon(parameters, lr=0.01, weight_decay=0.1)
    for p in parameters:
        p.grad = torch.randn_like(p)
    optimiser.step()
    before = [p.detach().clone() for p in parameters], {k: v.clone() for k, v in flatten(optimiser)[0].items()}
    optimiser.found_inf = torch.ones(())
    for p in parameters:
        p.grad = torch.full_like(p, float("nan"))
    optimiser.step()
    assert all(torch.equal(p, old) for p, old in zip(parameters, before[0], strict=True))
    assert all(torch.equal(new, before[1][name]) for name, new in flatten(optimiser)[0].items())
