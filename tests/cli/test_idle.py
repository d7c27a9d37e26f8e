"""Notes before a run on automations that cannot act."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paragonsr.cli.train import idle
from paragonsr.config import load_config

ON = {"enabled": True}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"val.val_enabled": False}, ["Nothing is validated: no best weights are kept"]),
        ({"val.metrics_enabled": False}, ["no best weights are kept"]),
        (
            {"train.training_automations": {"early_stopping": ON}, "val.val_enabled": False},
            ["no best weights are kept", "nothing is validated"],
        ),
        ({"train.dynamic_loss_scheduling": ON, "train.losses": [{"type": "l1loss"}]}, ["nothing to balance"]),
        (
            {"train.training_automations": {"dynamic_batch_size_optimizer": ON | {"max_batch_size": 3}}},
            ["max_batch_size is 3, but the batch is never reduced: 4 is used"],
        ),
        ({"train.training_automations": {"dynamic_batch_size_optimizer": ON | {"max_batch_size": 4}}}, []),
    ],
)
def test_automations_that_have_nothing_to_act_on_are_named(
    tiny_config: Callable[..., Path], changes: dict[str, Any], said: list[str]
) -> None:
    notes = idle(load_config(tiny_config(changes)).config)
    assert len(notes) == len(said)
    assert all(part in note for part, note in zip(said, notes, strict=True))
