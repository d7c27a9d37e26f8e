"""torch's optimisers without its compiler: the same weights to the bit, also from torch's own state."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from paragonsr.optim.optimisers import build_torch, flatten, unflatten
from paragonsr.optim.options import AdamOptions, AdamWOptions, NAdamOptions, OptimiserOptions

SHAPES = [(8, 4, 3, 3), (8,), (8, 3, 3, 3)]
OPTIONS = [
    AdamOptions(lr=1e-2, weight_decay=0.1),
    AdamWOptions(lr=1e-2, weight_decay=0.1, betas=[0.8, 0.95]),
    NAdamOptions(lr=1e-2, weight_decay=0.1),
]


def _parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.linspace(-1, 1, torch.Size(shape).numel()).view(shape)) for shape in SHAPES]


def _plain(options: OptimiserOptions, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    given = {
        "lr": options.first_lr,
        "betas": tuple(options.betas),
        "eps": options.eps,
        "weight_decay": options.weight_decay,
    }
    own = {"decoupled_weight_decay": True, "momentum_decay": 4e-3} if options.type == "NAdam" else {"fused": True}
    plain: torch.optim.Optimizer = getattr(torch.optim, options.type)(parameters, **given, **own)
    return plain


def _step(optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter], number: int) -> None:
    optimiser.zero_grad()
    generator = torch.Generator().manual_seed(number)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimiser.step()


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options.type)
def test_the_weights_are_those_of_torch(options: OptimiserOptions) -> None:
    ours, theirs, resumed = _parameters(), _parameters(), _parameters()
    own, plain = build_torch(options, parameters=ours), _plain(options, theirs)
    for number in range(4):
        _step(own, ours, number)
        _step(plain, theirs, number)
    continued = build_torch(options, parameters=resumed)
    with torch.no_grad():
        torch._foreach_copy_(resumed, theirs)
    unflatten(continued, *deepcopy(flatten(plain)))
    for number in range(4, 8):
        for optimiser, parameters in ((own, ours), (plain, theirs), (continued, resumed)):
            _step(optimiser, parameters, number)
    for one, other, third in zip(ours, theirs, resumed, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(third, other)
        assert one.requires_grad


def test_a_step_is_skipped_where_found_inf_is_set() -> None:
    parameters = _parameters()
    optimiser = build_torch(AdamWOptions(lr=1e-2), parameters=parameters)
    optimiser.grad_scale, optimiser.found_inf = None, torch.ones(())  # type: ignore[attr-defined]
    _step(optimiser, parameters, 0)
    for one, other in zip(parameters, _parameters(), strict=True):
        assert torch.equal(one, other)
