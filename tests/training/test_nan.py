"""Non-finite gradients: skipped, explained, rolled back."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from paragonsr.config import load_config
from paragonsr.training import run
from paragonsr.training.engine import objective
from paragonsr.training.reporting.record import read_steps

Configure = Callable[..., Path]


@contextmanager
def _poisoned(monkeypatch: pytest.MonkeyPatch, calls: set[int]) -> Iterator[None]:
    """Makes the MSE loss NaN at the given calls (counted from 0)."""
    build = objective.LossOptions.build
    counter = iter(range(1000))

    class Poison(nn.Module):
        def __init__(self, loss: nn.Module) -> None:
            super().__init__()
            self.loss = loss

        def forward(self, sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
            value = self.loss(sr, hr)
            return value * torch.nan if next(counter) in calls else value

    def poisoned(options: Any, **context: Any) -> nn.Module:
        loss = build(options, **context)
        return Poison(loss) if options.label == "mse" else loss

    monkeypatch.setattr(objective.LossOptions, "build", poisoned)
    yield


def test_one_nan_is_skipped_and_explained(tiny_config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_config()
    with _poisoned(monkeypatch, {5}):
        outcome = run.train(load_config(path).config)
    steps = read_steps(outcome.folder)
    assert steps["finite"].tolist() == [1.0] * 5 + [0.0] + [1.0] * 6
    log = (outcome.folder / "train.log").read_text()
    assert "iteration 6: update skipped: loss mse is not finite" in log
    assert "photo_0" in log.split("update skipped")[1].splitlines()[0], "names the files of the batch"
    assert (outcome.folder / "journal.jsonl").read_text() == ""


@pytest.mark.parametrize("optimiser", ["AdamW", "SOAP", "Muon"])
def test_a_run_of_nans_rolls_back_and_goes_on_lower(
    tiny_config: Configure, monkeypatch: pytest.MonkeyPatch, optimiser: str
) -> None:
    path = tiny_config({"train.total_iter": 20, "train.optim_g": {"type": optimiser, "lr": 1e-3}})
    with _poisoned(monkeypatch, set(range(2, 8))):
        outcome = run.train(load_config(path).config)
    entries = [json.loads(line) for line in (outcome.folder / "journal.jsonl").read_text().splitlines()]
    assert [(entry["iteration"], entry["setting"]) for entry in entries] == [
        (8, "rollback"),
        (8, "lr_factor/divergence"),
    ]
    steps = read_steps(outcome.folder)
    assert steps["lr"].tolist() == [1e-3] * 8 + [5e-4] * 12
    assert steps["finite"][8:].all()
    assert steps["samples_seen"].tolist() == [4.0 * i for i in range(1, 21)], "the samples go forward"
    log = (outcome.folder / "train.log").read_text()
    assert "iter 8  divergence_guard: rollback: the last 6 gradients were not finite" in log


def test_endless_nans_stop_the_run(tiny_config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_config({"train.total_iter": 200, "train.observe_every": 6, "val.val_enabled": False})
    with _poisoned(monkeypatch, set(range(1000))):
        outcome = run.train(load_config(path).config)
    assert outcome.reason.startswith("divergence_guard: the last 6 gradients were not finite, after 5 rollbacks")
    assert outcome.iteration == 36
    assert outcome.failed
    described = json.loads((outcome.folder / "run.json").read_text())
    assert described["state"] == "failed"
    log = (outcome.folder / "train.log").read_text().splitlines()
    assert any("failed: divergence_guard: the last 6 gradients" in line for line in log[-7:])


def test_a_layer_whose_weights_are_not_finite_is_named(tiny_config: Configure, tmp_path: Path) -> None:
    from paragonsr.training.engine.device_context import DeviceContext
    from paragonsr.training.engine.diagnosis import _layer

    config = load_config(tiny_config()).config
    network = config.network.build(scale=2)
    name, parameter = list(network.named_parameters())[-1]
    with torch.no_grad():
        parameter.view(-1)[0] = torch.nan
    said = _layer(network, None, DeviceContext(torch.device("cpu"), None, False))  # type: ignore[arg-type]
    assert said == f"the weights {name} are not finite"
