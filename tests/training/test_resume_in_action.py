"""D24: a run interrupted while an automation acts, and resumed, equals the uninterrupted one bit for bit.

Two runs are recorded with everything enabled. Then each is interrupted in the middle of an action (which the saved
state must show) and continues with the recorded clock and memory.
"""

import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from paragonsr.archs.paragonsr2 import CompactParagonSR2
from paragonsr.config import load_config
from paragonsr.training.checkpoint.files import read_state
from paragonsr.training.checkpoint.state import TrainingState
from paragonsr.training.reporting.record import read_steps, read_validations
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]
Parts = Mapping[str, Any]

BALANCE: dict[str, Any] = {
    **{"enabled": True, "momentum": 0.0, "baseline_iterations": 50, "adaptation_rate": 0.005},
    **{"target_shares": {"mse": 0.4}, "max_weight": 1e4},
}
COMMON: dict[str, Any] = {
    "train.total_iter": 150,
    "train.observe_every": 10,
    "train.dynamic_loss_scheduling": BALANCE,
    "val.val_freq": 10,
    "logger.save_checkpoint_freq": 1000,
}
CONFIGS: dict[str, dict[str, Any]] = {
    # Probes of the micro-batch, the baseline of the losses, early annealing, and memory that gets short.
    "memory": COMMON
    | {
        "train.training_automations": {
            "dynamic_batch_size_optimizer": {
                **{"enabled": True, "mode": "throughput", "adjustment_frequency": 10, "min_batch_size": 2},
            },
            "early_stopping": {"enabled": True, "patience": 70, "min_improvement": 5.0},
            "adaptive_gradient_clipping": {"enabled": True, "gradient_history_size": 20},
        },
    },
    # The decay of the rate at the end.
    "rate": COMMON
    | {
        "train.total_iter": 60,
        "train.training_automations": {"intelligent_learning_rate_scheduler": {"enabled": True}},
    },
}
SHORT_FROM = 113
"""Iteration from which two samples at once are too many."""

ACTIONS: dict[str, tuple[str, int, Callable[[Parts], bool]]] = {
    "trial of a size": ("memory", 15, lambda parts: parts["size_probe"]["open"] is not None),
    "baseline": (
        "memory",
        45,
        lambda parts: bool(_balance(parts)["norms"]) and not _balance(parts)["reference"],
    ),
    "adaptation": ("memory", 85, lambda parts: _balance(parts)["decided"]["mse"] > 0 and _balance(parts)["off"] > 1),
    "anneal": ("memory", 95, lambda parts: _within_decay(parts, "early_stopping")),
    "just after memory ran out": (
        "memory",
        SHORT_FROM + 2,
        lambda parts: (
            parts["controller"]["micro_batch"] == 1 and parts["automation.dynamic_batch_size_optimizer"]["ceiling"] > 1
        ),
    ),
    "decay": ("rate", 55, lambda parts: _within_decay(parts, "intelligent_learning_rate_scheduler")),
}


def _balance(parts: Parts) -> Parts:
    return parts["automation.dynamic_loss_scheduling"]  # type: ignore[no-any-return]


def _within_decay(parts: Parts, owner: str) -> bool:
    decay = parts["controller"]["lr_factors"][owner]
    return decay["start"] < parts["meter"]["rows"][-1][0] < decay["end"]  # type: ignore[no-any-return]


class Machine:
    """Runs out of memory with more than one sample from one iteration on, and may interrupt the run at another."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.iteration, self.stop_at = 0, 1 << 40
        advance, forward = TrainingState.advance, CompactParagonSR2.forward

        def advanced(state: TrainingState, samples: int, iterations: int) -> None:
            advance(state, samples, iterations)
            self.iteration = state.iteration
            if self.iteration >= self.stop_at:
                signal.raise_signal(signal.SIGINT)

        def limited(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
            training = network.training and torch.is_grad_enabled()
            if training and self.iteration >= SHORT_FROM and len(images) > 1:
                raise torch.OutOfMemoryError("injected")
            return forward(network, images)  # type: ignore[arg-type]

        patch.setattr(TrainingState, "advance", advanced)
        patch.setattr(CompactParagonSR2, "forward", limited)

    def train(self, path: Path, *, begin: int = 0, stop_at: int = 1 << 40) -> TrainResult:
        self.iteration, self.stop_at = begin, stop_at
        return train(load_config(path).config)


@pytest.fixture
def device_context(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture(scope="module")
def uninterrupted(module_config: Configure) -> dict[str, TrainResult]:
    """The recorded runs."""
    with pytest.MonkeyPatch.context() as patch:
        device_context = Machine(patch)
        return {name: device_context.train(module_config(changes, name=name)) for name, changes in CONFIGS.items()}


@pytest.mark.parametrize("action", ACTIONS)
def test_d24_resumed_in_the_middle_of_an_action_it_is_the_same_to_the_bit(
    action: str, uninterrupted: dict[str, TrainResult], module_config: Configure, device_context: Machine
) -> None:
    name, stop_at, in_action = ACTIONS[action]
    whole = uninterrupted[name]
    path = module_config(CONFIGS[name] | {"path.readings": str(whole.folder)}, name=action.replace(" ", "_"))
    cut = device_context.train(path, stop_at=stop_at)
    assert (cut.reason, cut.iteration) == ("interrupted", stop_at)
    assert in_action(read_state(cut.folder / "training_states" / "autosave.state")[1]["parts"])

    resumed = device_context.train(path, begin=stop_at)
    assert (resumed.reason, resumed.iteration, resumed.best) == (whole.reason, whole.iteration, whole.best)
    assert (resumed.folder / "journal.jsonl").read_text() == (whole.folder / "journal.jsonl").read_text()
    one, other = read_steps(whole.folder), read_steps(resumed.folder)
    for value in one:
        np.testing.assert_array_equal(one[value], other[value], err_msg=value)
    assert read_validations(whole.folder) == read_validations(resumed.folder)
    assert _scalars(whole.folder) == _scalars(resumed.folder)
    states = [read_state(run.folder / "training_states" / f"{whole.iteration}.state") for run in (whole, resumed)]
    for tensor in states[0][0]:
        assert torch.equal(states[0][0][tensor], states[1][0][tensor]), tensor
    assert states[0][1]["parts"] == states[1][1]["parts"]


def _scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / "tb"), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_every_automation_has_acted(uninterrupted: dict[str, TrainResult]) -> None:
    made = {
        (name, entry["automation"])
        for name, run in uninterrupted.items()
        for entry in map(json.loads, (run.folder / "journal.jsonl").read_text().splitlines())
        if entry["outcome"] == "applied"
    }
    assert made == {
        ("memory", "dynamic_batch_size_optimizer"),
        ("memory", "dynamic_loss_scheduling"),
        ("memory", "early_stopping"),
        ("memory", "adaptive_gradient_clipping"),
        ("rate", "intelligent_learning_rate_scheduler"),
    }
