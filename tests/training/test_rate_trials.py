"""Trials of learning rates before the run: their measurements, and that they leave no trace."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from paragonsr.automation.protocol import Measurements
from paragonsr.config import load_config
from paragonsr.data.sampling import Sampler
from paragonsr.optim.options import AdamWOptions, SOAPOptions
from paragonsr.training.checkpoint.files import read_state
from paragonsr.training.engine import rate_trials as rate_probe
from paragonsr.training.engine.device_context import open_device_context
from paragonsr.training.engine.factory import build_objective
from paragonsr.training.replay import replay
from paragonsr.training.reporting.record import read_steps
from paragonsr.training.run import TrainResult, train
from paragonsr.training.run_data import open_data

Configure = Callable[..., Path]
LONG = {"train.total_iter": 4 * rate_probe.FEWEST_STEPS * 34, "train.optim_g.lr": "auto"}
"""Configuration of a run long enough for trials of all rates; it is not trained."""


def _tried(path: Path) -> tuple[Measurements, list[tuple[int, int]]]:
    """The measurements and the reported progress; checks that network and random generators are unchanged."""
    config = load_config(path).config
    with open_device_context(config) as device_context:
        data = open_data(config, device_context)
        sampler = Sampler(data.train, config.train_set, config.scale, config.manual_seed)
        torch.manual_seed(3)
        network = config.network.build(scale=config.scale)
        objective = build_objective(config, device_context)
        before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
        told: list[tuple[int, int]] = []
        measurements = rate_probe.try_rates(
            config, device_context, network, objective, sampler, lambda done, total: told.append((done, total))
        )
    assert torch.equal(torch.get_rng_state(), random)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in network.parameters())
    return measurements, told


def test_each_rate_is_tried_within_three_percent_and_leaves_no_trace(tiny_config: Configure) -> None:
    path = tiny_config(LONG)
    measurements, told = _tried(path)
    assert (measurements.iteration, measurements.kind) == (0, "learning rates")
    assert [float(rate) for rate in measurements.values] == list(AdamWOptions.rates)
    assert len({round(loss, 9) for loss in measurements.values.values()}) == len(AdamWOptions.rates)
    total = LONG["train.total_iter"]
    assert isinstance(total, int)
    assert told[-1][0] == told[-1][1] <= 0.03 * total
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert _tried(path)[0] == measurements, "a trial is a pure function of configuration, weights and samples"


def test_an_optimiser_has_rates_of_its_own(tiny_config: Configure) -> None:
    measurements, _ = _tried(tiny_config(LONG | {"train.optim_g": {"type": "SOAP", "lr": "auto"}}))
    assert [float(rate) for rate in measurements.values] == list(SOAPOptions.rates)


def test_a_rate_that_makes_training_come_apart_has_no_finite_loss(
    tiny_config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AdamWOptions, "rates", (1e-3, 1e12))
    measurements, _ = _tried(tiny_config(LONG))
    assert math.isfinite(measurements.values["0.001"])
    assert not measurements.values["1000000000000.0"] < 1e6


def test_a_trial_trains(tiny_config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AdamWOptions, "rates", (1e-9, 1e-3))
    measurements, _ = _tried(tiny_config(LONG))
    assert measurements.values["0.001"] < 0.98 * measurements.values["1e-09"]


@pytest.mark.parametrize(("count", "rates"), [(1, 0), (2, 2), (3, 3), (9, 4)])
def test_a_short_run_tries_fewer_rates(
    tiny_config: Configure, monkeypatch: pytest.MonkeyPatch, count: int, rates: int
) -> None:
    monkeypatch.setattr(rate_probe, "_trial", lambda *given: given[-1](given[-2]) or float(given[-2]))
    total = math.ceil(count * rate_probe.FEWEST_STEPS / rate_probe.SHARE)
    measurements, told = _tried(tiny_config(LONG | {"train.total_iter": total}))
    assert [float(rate) for rate in measurements.values] == list(AdamWOptions.rates[:rates])
    assert all(steps >= rate_probe.FEWEST_STEPS for steps in measurements.values.values())
    assert not told or told[-1][1] <= 0.03 * total


def _train(path: Path, *overrides: str) -> TrainResult:
    return train(load_config(path, overrides).config)


@pytest.fixture
def chosen(tiny_config: Configure, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configuration of a run of 12 iterations that tries two rates for 30 steps each."""
    monkeypatch.setattr(rate_probe, "FEWEST_STEPS", 30)
    monkeypatch.setattr(rate_probe, "SHARE", 60.1 / 12)
    monkeypatch.setattr(AdamWOptions, "rates", (3e-3, 1e-9))
    return tiny_config({"train.optim_g.lr": "auto"})


def test_d3_the_chosen_rate_is_the_one_that_the_optimiser_gets(chosen: Path) -> None:
    outcome = _train(chosen)
    (entry,) = [json.loads(line) for line in (outcome.folder / "journal.jsonl").read_text().splitlines()]
    assert (entry["iteration"], entry["automation"], entry["setting"]) == (0, "learning_rate_choice", "lr")
    assert (entry["to"], entry["outcome"]) == (3e-3, "applied")
    assert set(read_steps(outcome.folder)["lr"]) == {3e-3}
    assert list(replay(outcome.folder).differences()) == []


def test_a_written_rate_is_held_to_the_others_and_kept(chosen: Path) -> None:
    watched = "train.training_automations.intelligent_learning_rate_scheduler.enabled=true"
    outcome = _train(chosen, "train.optim_g.lr=1e-9", watched)
    entry = json.loads((outcome.folder / "journal.jsonl").read_text().splitlines()[0])
    assert (entry["setting"], entry["from"], entry["to"], entry["outcome"]) == ("lr", 1e-9, 3e-3, "dry run")
    assert read_steps(outcome.folder)["lr"].max() == 1e-9
    assert list(replay(outcome.folder).differences()) == []


def test_d24_a_resumed_run_keeps_its_rate_and_tries_none(chosen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _train(chosen)
    monkeypatch.setattr(rate_probe, "_trial", lambda *_: pytest.fail("tried again"))
    longer = _train(chosen, "train.total_iter=20")
    assert set(read_steps(longer.folder)["lr"]) == {3e-3}
    assert len((longer.folder / "journal.jsonl").read_text().splitlines()) == 1


def test_a_run_too_short_for_trials_says_so(tiny_config: Configure) -> None:
    outcome = _train(tiny_config({"train.optim_g.lr": "auto"}))
    (entry,) = [json.loads(line) for line in (outcome.folder / "journal.jsonl").read_text().splitlines()]
    assert (entry["to"], entry["values"]) == (AdamWOptions.usual_lr, {})
    assert "too short for trials" in entry["reason"]


LR = "train.training_automations.intelligent_learning_rate_scheduler"


def test_a_written_rate_is_replaced_where_that_is_asked_for(chosen: Path) -> None:
    outcome = _train(chosen, "train.optim_g.lr=1e-9", f"{LR}.enabled=true", f"{LR}.base_rate=choose")
    entry = json.loads((outcome.folder / "journal.jsonl").read_text().splitlines()[0])
    assert (entry["setting"], entry["from"], entry["to"], entry["outcome"]) == ("lr", 1e-9, 3e-3, "applied")
    assert read_steps(outcome.folder)["lr"].max() == 3e-3
    assert list(replay(outcome.folder).differences()) == []


@pytest.mark.parametrize("off", ["enabled=false", "dry_run=true", "base_rate=written"])
def test_a_written_rate_is_kept_otherwise(chosen: Path, off: str) -> None:
    asked = [f"{LR}.{key}" for key in ("enabled=true", "base_rate=choose", off)]
    outcome = _train(chosen, "train.optim_g.lr=1e-9", *asked)
    assert read_steps(outcome.folder)["lr"].max() == 1e-9


def test_a_written_rate_is_kept_by_a_run_too_short_for_trials(tiny_config: Configure) -> None:
    outcome = _train(
        tiny_config({"train.optim_g.lr": 3e-4, f"{LR}.enabled": True, f"{LR}.base_rate": "choose"}),
    )
    assert read_steps(outcome.folder)["lr"].max() == 3e-4


@pytest.fixture
def compared(chosen: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TrainResult]:
    """Trains with a comparison of AdamW, which learns nothing at its rate, with SOAP."""
    monkeypatch.setattr(AdamWOptions, "rates", (1e-9, 2e-9))
    monkeypatch.setattr(SOAPOptions, "rates", (3e-3, 1e-9))
    asked = ["train.optim_g.lr=1e-9", f"{LR}.enabled=true", f"{LR}.optimiser=choose"]
    return lambda *overrides: _train(chosen, *asked, *overrides)


def test_the_better_optimiser_trains_and_is_resumed_to_the_bit(compared: Callable[..., TrainResult]) -> None:
    straight = compared("name=straight")
    optimiser, lr = [json.loads(line) for line in (straight.folder / "journal.jsonl").read_text().splitlines()][:2]
    assert (optimiser["setting"], optimiser["from"], optimiser["to"]) == ("optimiser", "AdamW", "SOAP")
    assert (lr["setting"], lr["to"]) == ("lr", 3e-3)
    assert list(replay(straight.folder).differences()) == []
    killed = compared("name=resumed")
    for state in (killed.folder / "training_states").glob("*.state"):
        if state.stem != "6":
            state.unlink()
    resumed = compared("name=resumed")
    tensors = [read_state(run.folder / "training_states" / "12.state")[0] for run in (straight, resumed)]
    assert any("covariance" in name or "basis" in name for name in tensors[0])
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensor, tensors[1][name]) for name, tensor in tensors[0].items())


def test_an_optimiser_that_is_not_better_is_not_taken(
    compared: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SOAPOptions, "rates", (1e-9, 2e-9))
    outcome = compared()
    assert not [line for line in (outcome.folder / "journal.jsonl").read_text().splitlines() if "optimiser" in line]
    assert read_steps(outcome.folder)["lr"].max() == 1e-9
