"""Runs with branched convolutions save weights without branches."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from paragonsr.archs.classic_options import NanoOptions
from paragonsr.archs.weights import read_weights
from paragonsr.config import load_config
from paragonsr.inference.model import load
from paragonsr.training.reporting.record import read_validations
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]
BRANCHES = {"train.branches": "edge"}


def _train(path: Path, *overrides: str) -> TrainResult:
    return train(load_config(path, overrides).config)


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("ema_decay", [0.0, 0.99])
def test_the_weights_are_those_of_a_plain_network_and_measure_as_they_did(
    tiny_config: Configure, ema_decay: float
) -> None:
    outcome = _train(tiny_config(BRANCHES | {"train.ema_decay": ema_decay}))
    tensors, _ = read_weights(outcome.weights)
    assert {name: tensor.shape for name, tensor in tensors.items()} == _shapes(NanoOptions().build(scale=2))
    assert outcome.best is not None
    assert outcome.best["value"] == max(v.deciding("psnr").value for v in read_validations(outcome.folder))
    assert outcome.picture is not None, "the best weights were loaded into the network that was measured"


def test_they_resume_to_the_bit(tiny_config: Configure) -> None:
    straight = _train(tiny_config(BRANCHES, name="straight"))
    path = tiny_config(BRANCHES, name="halted")
    _train(path, "train.total_iter=6")
    one, other = (load(outcome.weights).network for outcome in (straight, _train(path)))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_they_start_from_plain_weights(tiny_config: Configure) -> None:
    first = _train(tiny_config(name="first"))
    changes = BRANCHES | {"path.pretrain_network_g": str(first.weights), "train.optim_g.lr": 1e-12}
    second = _train(tiny_config(changes, name="second"))
    one, other = (load(outcome.weights).network for outcome in (first, second))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
