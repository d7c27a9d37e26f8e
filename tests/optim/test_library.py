"""Optimisers of pytorch-optimizer: each that is offered moves every weight and continues to the bit after a resume."""

import json

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.optim import Optimizer

from paragonsr.errors import UserError
from paragonsr.optim.library import build
from paragonsr.optim.optimisers import flatten, unflatten
from paragonsr.optim.options import LibraryOptions

pytest.importorskip("pytorch_optimizer")


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))


def _optimiser(name: str, network: nn.Module) -> Optimizer:
    return build(LibraryOptions(name=name, lr=1e-3), parameters=network.parameters())


def _steps(network: nn.Module, optimiser: Optimizer, first: int, last: int) -> None:
    for i in range(first, last):
        images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(i))
        torch.manual_seed(i)
        optimiser.zero_grad()
        (network(images) - images).square().mean().backward()
        optimiser.step()


@pytest.mark.parametrize("name", sorted(LibraryOptions.NAMES))
def test_it_moves_every_weight_and_continues_to_the_bit(name: str) -> None:
    straight = _network()
    _steps(straight, _optimiser(name, straight), 0, 12)
    stopped = _network()
    optimiser = _optimiser(name, stopped)
    _steps(stopped, optimiser, 0, 6)
    tensors, rest = flatten(optimiser)
    tensors, rest = {key: value.clone() for key, value in tensors.items()}, json.loads(json.dumps(rest))
    resumed = _network()
    resumed.load_state_dict(stopped.state_dict())
    optimiser = _optimiser(name, resumed)
    unflatten(optimiser, tensors, rest)
    _steps(resumed, optimiser, 6, 12)
    for one, other, first in zip(straight.parameters(), resumed.parameters(), _network().parameters(), strict=True):
        assert torch.equal(one, other)
        assert torch.isfinite(one).all()
        assert not torch.equal(one, first)


@pytest.mark.parametrize("name", ["sophiah", "lbfgs", "adamm"])
def test_others_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="is not one of a2grad, "):
        LibraryOptions(name=name, lr=1e-3)


@pytest.mark.parametrize("name", ["adan", "lion", "adopt"])
def test_an_argument_that_it_does_not_take_is_refused(name: str) -> None:
    options = LibraryOptions(name=name, lr=1e-3, arguments={"colour": 1})
    with pytest.raises(UserError, match=f"{name} does not accept colour") as told:
        build(options, parameters=_network().parameters())
    assert "betas" in str(told.value)


def test_a_value_that_it_does_not_take_is_refused() -> None:
    options = LibraryOptions(name="adan", lr=1e-3, arguments={"betas": [2.0, 0.9, 0.9]})
    with pytest.raises(UserError, match="adan cannot be created"):
        build(options, parameters=_network().parameters())
