"""Runs with a budget of PSNR: what is kept, what is replayed, and what a resume must not change."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paragonsr.automation.protocol import MetricValue, Validation
from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.discriminators.options import UNetOptions
from paragonsr.errors import UserError
from paragonsr.losses.adversarial_options import GANOptions
from paragonsr.optim.options import AdamWOptions
from paragonsr.training.checkpoint.files import read_state
from paragonsr.training.checkpoint.state import TrainingState
from paragonsr.training.control.best import better_of
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.learner import Learner, LearnerStep
from paragonsr.training.replay import replay
from paragonsr.training.reporting.record import read_steps, read_validations
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]
GAN = {"type": "ganloss", "network_d": {"type": "unetdiscriminatorsn", "num_feat": 4}}
FINISH: dict[str, Any] = {
    "train.total_iter": 60,
    "train.observe_every": 5,
    "train.losses": [{"type": "l1loss"}, GAN],
    "train.training_automations": {"fidelity_budget": "0.2dB"},
    "val": {"val_freq": 10, "metrics": {"psnr": {"type": "psnr_y"}, "flip": {"type": "flip"}}},
    "logger.save_checkpoint_freq": 20,
}


def _train(path: Path, *overrides: str) -> TrainResult:
    return train(load_config(path, overrides).config)


def _journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def straight(module_config: Configure) -> TrainResult:
    """A finished run; must not be changed."""
    return _train(module_config(FINISH, name="straight"))


def test_the_start_is_validated_and_the_best_is_within_the_budget(straight: TrainResult) -> None:
    start, *later = [(v.iteration, next(iter(v.metrics.values()))) for v in read_validations(straight.folder)]
    assert start[0] == 0
    floor = start[1]["psnr"].value - 0.2
    allowed = [start, *((i, m) for i, m in later if m["psnr"].value >= floor)]
    best = min(allowed, key=lambda found: found[1]["flip"].value)
    assert straight.best is not None
    assert (straight.best["metric"], straight.best["iteration"]) == ("flip", best[0])
    first = _journal(straight.folder)[0]
    assert (first["setting"], first["to"], first["outcome"]) == ("metric_floor/psnr", floor, "applied")


def test_weights_move_and_replay_finds_the_same_decisions(straight: TrainResult) -> None:
    weights = read_steps(straight.folder)["loss_weight/gan"]
    assert weights[0] == pytest.approx(1e-3 * 0.1)
    assert len(set(weights)) > 3
    again = replay(straight.folder)
    assert len(again.again) == len(_journal(straight.folder)) > 3
    assert list(again.differences()) == []


@pytest.mark.parametrize("stop_at", [7, 33])
def test_an_interrupted_run_continues_to_the_bit_with_both_networks(
    stop_at: int, straight: TrainResult, module_config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = module_config(FINISH | {"path.system_stats": str(straight.folder)}, name=f"cut{stop_at}")
    advance = TrainingState.advance

    def advanced(state: TrainingState, samples: int, iterations: int) -> None:
        advance(state, samples, iterations)
        if state.iteration == stop_at:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "advance", advanced)
        assert _train(path).iteration == stop_at
    resumed = _train(path)
    assert (resumed.reason, resumed.best) == (straight.reason, straight.best)
    assert _journal(resumed.folder) == _journal(straight.folder)
    assert read_validations(resumed.folder) == read_validations(straight.folder)
    one, other = read_steps(straight.folder), read_steps(resumed.folder)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    states = [read_state(run.folder / "training_states" / "60.state") for run in (straight, resumed)]
    assert all(torch.equal(states[0][0][name], states[1][0][name]) for name in states[0][0])
    assert states[0][1]["parts"] == states[1][1]["parts"]
    assert "learner.gan" in " ".join(states[0][0]), "the discriminator is in the state"


def test_a_run_far_over_its_budget_returns_to_the_weights_within_it(module_config: Configure) -> None:
    violent = {"fidelity_budget": {"enabled": True, "budget": 0.001, "start_ratio": 20}}
    changes = {"train.training_automations": violent, "train.optim_g.lr": 1e-2}
    changes |= {"logger.save_checkpoint_freq": 10, "logger.keep_last": 9}
    run = _train(module_config(FINISH | changes, name="violent"))
    start, *later = [(v.iteration, v.metrics["val"]["psnr"].value) for v in read_validations(run.folder)]
    backs = [entry["iteration"] for entry in _journal(run.folder) if entry["setting"] == "rollback"]
    assert backs
    assert {entry["outcome"] for entry in _journal(run.folder)} == {"applied"}
    for iteration in backs:
        within = max((i for i, psnr in later if i <= iteration and psnr >= start[1] - 0.001), default=0)
        tensors, _ = read_state(run.folder / "training_states" / f"{iteration}.state")
        kept = [name.removeprefix("kept.") for name in tensors if name.startswith("kept.")]
        assert any(name.startswith("learner.gan") for name in kept), "both networks return"
        assert all(torch.equal(tensors[f"now.{name}"], tensors[f"kept.{name}"]) for name in kept)
        if within:
            earlier, _ = read_state(run.folder / "training_states" / f"{within}.state")
            assert all(torch.equal(earlier[f"now.{name}"], tensors[f"kept.{name}"]) for name in kept)
    assert list(replay(run.folder).differences()) == []


def test_a_dry_run_changes_nothing_but_says_what_it_would_do(module_config: Configure) -> None:
    budget = {"fidelity_budget": {"enabled": True, "dry_run": True}}
    dry = _train(module_config(FINISH | {"train.training_automations": budget, "train.total_iter": 30}, name="dry"))
    assert {entry["outcome"] for entry in _journal(dry.folder)} == {"dry run"}
    assert set(read_steps(dry.folder)["loss_weight/gan"]) == {0.1}
    assert list(replay(dry.folder).differences()) == []


def test_explain_says_what_it_watches_and_may_change(module_config: Configure, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["explain", str(module_config(FINISH, name="explained"))])
    assert not ended.value.code
    said = capsys.readouterr().out
    assert "fidelity_budget" in said
    assert "accuracy and logit gap of discriminators" in " ".join(said.split())
    assert "budget: 0.2" in said


def test_a_discriminator_that_is_held_does_not_change_but_is_measured() -> None:
    options = GANOptions(network_d=UNetOptions(num_feat=4), optim_d=AdamWOptions(lr=1e-3, weight_decay=0.1))
    learner = Learner(options.build(), DeviceContext(torch.device("cpu"), None, False))  # type: ignore[arg-type]
    images = torch.rand(2, 2, 3, 16, 16)

    def step(lr: float) -> tuple[list[torch.Tensor], LearnerStep]:
        learner.set_lr(lr)
        learner.begin()
        learner.accumulate(images[0], images[1], 1.0)
        result = learner.step()
        return [parameter.detach().clone() for parameter in learner.network.parameters()], result

    before, _ = step(1e-3)
    held, result = step(0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, held, strict=True))
    assert float(result.finite) == 0.0
    assert 0 <= float(result.values["accuracy"]) <= 1
    again, _ = step(1e-3)
    assert any(not torch.equal(a, b) for a, b in zip(held, again, strict=True))


def test_a_validation_below_a_floor_is_never_the_best() -> None:
    def found(iteration: int, psnr: float, flip: float) -> Validation:
        values = {"psnr": MetricValue(psnr, "higher", "psnr"), "flip": MetricValue(flip, "lower", "flip")}
        return Validation(iteration, {"first": values, "second": {}})

    start = better_of(None, found(0, 32.0, 0.2), "flip")
    assert better_of(start, found(1, 31.49, 0.1), "flip", {"psnr": 31.5}) is start
    better = better_of(start, found(2, 31.5, 0.1), "flip", {"psnr": 31.5})
    assert better is not None
    assert better.iteration == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"val.metrics": {"psnr": {"type": "psnr"}}}, "needs a perceptual metric that decides, not psnr"),
        ({"val.metrics": {"flip": {"type": "flip"}}}, "needs a PSNR among val.metrics"),
        ({"val.metric": "psnr"}, "needs a perceptual metric that decides, not psnr"),
        ({"val.val_enabled": False}, "needs a validation set"),
        ({"train.losses": [{"type": "l1loss"}]}, "needs an adversarial or a perceptual loss"),
        ({"train.losses": [GAN]}, "needs a loss for fidelity"),
        ({"train.dynamic_loss_scheduling": {"enabled": True}}, "disable dynamic_loss_scheduling"),
        ({"train.training_automations": {"fidelity_budget": "1 bel"}}, "budget"),
        ({"train.training_automations": {"fidelity_budget": -1}}, "greater than 0"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(changes: dict[str, Any], said: str, tiny_config: Configure) -> None:
    tree = FINISH | {"val": {"val_freq": 10}, "val.metrics": FINISH["val"]["metrics"]} | changes
    with pytest.raises(UserError) as caught:
        load_config(tiny_config(tree))
    assert said in str(caught.value)
    assert "fidelity_budget" in str(caught.value)


@pytest.mark.parametrize("written", ["0.25dB", "0.25 dB", 0.25, {"enabled": True, "budget": "0.25db"}])
def test_the_budget_may_be_all_that_is_written(written: Any, tiny_config: Configure) -> None:
    config = load_config(tiny_config(FINISH | {"train.training_automations": {"fidelity_budget": written}})).config
    section = config.train.training_automations.fidelity_budget
    assert (section.enabled, section.budget) == (True, 0.25)
    assert config.deciding_metric == "flip"
    assert not config.made_fair().train.training_automations.fidelity_budget.enabled


def test_the_master_switch_is_stronger(tiny_config: Configure) -> None:
    sections = {"enabled": False, "fidelity_budget": "0.25dB"}
    config = load_config(tiny_config(FINISH | {"train.training_automations": sections})).config
    assert not config.train.training_automations.fidelity_budget.enabled
