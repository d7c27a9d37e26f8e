"""All kinds of plugins in one file outside the package, with training and resume."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paragonsr.automation.protocol import CLOCK_COLUMNS
from paragonsr.config.load import load_config
from paragonsr.errors import UserError
from paragonsr.training.checkpoint.files import read_state
from paragonsr.training.replay import replay
from paragonsr.training.reporting.record import read_steps, read_validations
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]
STRANGERS = str(Path(__file__).with_name("strangers.py"))
EACH: dict[str, dict[str, Any]] = {
    "loss": {"train.losses": [{"type": "fourthpowerloss"}]},
    "learned loss": {"train.losses": [{"type": "l1loss"}, {"type": "CriticLoss", "loss_weight": 0.1}]},
    "network": {"network_g": {"type": "plain", "width": 4}},
    "metric": {"val.metrics": {"worst": {"type": "largest_error"}}},
    "degradation": {"datasets.train.degradation": {"type": "noisy"}, "datasets.val.degradation": {"type": "noisy"}},
    "degradation on the device": {
        "datasets.train.degradation": {"type": "blurry"},
        "datasets.val.degradation": {"type": "blurry"},
    },
    "optimiser": {"train.optim_g": {"type": "sign", "lr": 1e-3}},
    "scheduler": {"train.scheduler": {"type": "Saw", "period": 7}},
    "automation": {"train.training_automations": {"nudge": {"enabled": True}}},
    "logger": {"logger.loggers": [{"type": "textfile"}]},
}


def _train(path: Path, *overrides: str) -> TrainResult:
    return train(load_config(path, overrides).config)


def _state(result: TrainResult) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    return read_state(result.folder / "training_states" / "20.state")


def assert_same_runs(one: TrainResult, other: TrainResult) -> None:
    """Everything but clock and memory is equal bit for bit."""
    (tensors, rest), (others, other_rest) = _state(one), _state(other)
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, others[name]), name
    clock = {"meter"}
    parts, other_parts = rest["parts"], other_rest["parts"]
    assert {k: v for k, v in parts.items() if k not in clock} == {
        k: v for k, v in other_parts.items() if k not in clock
    }
    steps, other_steps = read_steps(one.folder), read_steps(other.folder)
    for name in steps.keys() - set(CLOCK_COLUMNS):
        np.testing.assert_array_equal(steps[name], other_steps[name], err_msg=name)
    assert read_validations(one.folder) == read_validations(other.folder)


@pytest.mark.parametrize("what", EACH)
def test_a_stranger_is_trained_and_resumed_bit_for_bit(what: str, tiny_config: Configure) -> None:
    # Everything is due at iteration 10 anyway, so a run that ends there does nothing that a longer one does not.
    every = {"train.observe_every": 5, "val.val_freq": 5, "logger.save_checkpoint_freq": 10}
    changes = {"plugins": [STRANGERS], "train.total_iter": 20} | every | EACH[what]
    whole = _train(tiny_config(changes, name="whole"))
    parts = tiny_config(changes, name="parts")
    _train(parts, "train.total_iter=10")
    assert_same_runs(whole, _train(parts))
    assert list(replay(whole.folder).differences()) == []


def test_the_stranger_metric_decides_downwards(tiny_config: Configure) -> None:
    result = _train(tiny_config({"plugins": [STRANGERS], "train.total_iter": 20} | EACH["metric"]))
    values = [v.metrics["val"]["worst"].value for v in read_validations(result.folder)]
    assert result.best is not None
    assert (result.best["metric"], result.best["value"]) == ("worst", min(values))
    assert result.weights.name == "best.safetensors"


def test_the_stranger_logger_is_told_everything(tiny_config: Configure) -> None:
    result = _train(tiny_config({"plugins": [STRANGERS]} | EACH["logger"] | EACH["automation"]))
    lines = (result.folder / "log.txt").read_text().splitlines()
    for wanted in ("4 losses/l1", "6 val/psnr", "4 automation/lr_factor/nudge", "6 picture photo_00 (64, 72, 3)"):
        assert wanted in lines, wanted


def test_no_lr_images_are_packed_where_they_are_made_while_training(tiny_config: Configure) -> None:
    config = load_config(tiny_config({"plugins": [STRANGERS]} | EACH["degradation"])).config
    packed = config.train_set.open(config.scale, "train")
    assert not packed.holds_lq
    with pytest.raises(ValueError, match="made during training"):
        packed.lq(0)
    assert config.datasets["val"].open(config.scale, "val").holds_lq


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        ("nowhere_at_all", "there is no module 'nowhere_at_all'"),
        ("no/such/file.py", "cannot be imported"),
        ("broken.py", "cannot be imported: expected"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named(
    plugin: str, said: str, tiny_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("def f(:\n")
    with pytest.raises(UserError) as caught:
        load_config(tiny_config({"plugins": [plugin]}))
    assert plugin in str(caught.value)
    assert said.split(":")[0] in str(caught.value)


def test_two_losses_of_one_type_need_names(tiny_config: Configure) -> None:
    both = [{"type": "l1loss"}, {"type": "l1loss", "loss_weight": 0.5}]
    with pytest.raises(UserError, match="two losses are called l1"):
        load_config(tiny_config({"train.losses": both}))
    both[1]["name"] = "second"
    result = _train(tiny_config({"train.losses": both, "train.total_iter": 4}))
    assert {"loss/l1", "loss/second"} <= read_steps(result.folder).keys()
