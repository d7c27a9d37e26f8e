"""Budgets: their spellings, and their effect on a configuration."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paragonsr.config import load_config
from paragonsr.config.budget import Budget, parse_budget
from paragonsr.config.rescaling import fitted, iteration_keys
from paragonsr.errors import UserError
from paragonsr.training.assembly import learning_rate

ROOT = Path(__file__).parents[2]
NANO = ROOT / "options/train/ParagonSR2/dataset/2xParagonSR2_Nano_CC0_complexity05_ULTRA_FIDELITY.yml"


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("600s", 600, "seconds"),
        ("10min", 600, "seconds"),
        ("1.5 h", 5400, "seconds"),
        ("20000it", 20000, "iterations"),
        ("20k it", 20000, "iterations"),
        ("1M samples", 1e6, "samples"),
        (" 2e5 samples ", 2e5, "samples"),
    ],
)
def test_spellings(text: str, amount: float, unit: str) -> None:
    assert parse_budget(text) == Budget(amount, unit)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "10", "ten minutes", "0it", "-5s", "5 parsecs", "min"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(UserError, match="is not a budget"):
        parse_budget(text)


def test_iterations_of_a_budget() -> None:
    assert parse_budget("1M samples").iterations(32) == 31250
    assert parse_budget("20000it").iterations(32) == 20000
    assert parse_budget("6h").iterations(32) is None


def test_every_iteration_valued_key_is_rescaled() -> None:
    config = load_config(
        NANO,
        ["train.losses.1.start_iter=10000", "train.losses.1.target_iter=30000", "train.losses.1.target_weight=0.1"],
    ).config
    before, after = iteration_keys(config), iteration_keys(fitted(config, 6000))
    assert before["train.scheduler.milestones"] == [40000, 50000, 55000]
    assert after["train.scheduler.milestones"] == [4000, 5000, 5500]
    expected = {
        "train.total_iter": 6000,
        "train.warmup_iter": 100,
        "train.losses.1.start_iter": 1000,
        "train.losses.1.target_iter": 3000,
        "train.dynamic_loss_scheduling.baseline_iterations": 20,
        "train.training_automations.intelligent_learning_rate_scheduler.adaptation_frequency": 100,
        "train.training_automations.dynamic_batch_size_optimizer.adjustment_frequency": 50,
        "train.training_automations.early_stopping.patience": 300,
        "val.val_freq": 100,
        "logger.print_freq": 10,
        "logger.save_checkpoint_freq": 1000,
    }
    assert {key: after[key] for key in expected} == expected
    assert after["train.losses.0.start_iter"] == 0, "off stays off"


@given(st.integers(1, 300_000))
def test_nothing_falls_to_zero_and_nothing_else_changes(total: int) -> None:
    config = load_config(NANO).config
    new = fitted(config, total)
    assert new.train.total_iter == total
    for key, value in iteration_keys(config).items():
        scaled = iteration_keys(new)[key]
        pairs = zip(value, scaled, strict=True) if isinstance(value, list) else [(value, scaled)]  # type: ignore[arg-type]
        assert all((old > 0) == (now > 0) for old, now in pairs), key
    assert fitted(new, config.train.total_iter).network_g == config.network_g
    assert new.train.optim_g == config.train.optim_g
    assert new.datasets == config.datasets


@pytest.mark.parametrize("scheduler", ["CosineAnnealingLR", "WSD", "OneCycleLR"])
def test_a_budget_ends_annealed(scheduler: str) -> None:
    for budget in ("700it", "123456 samples"):
        config = load_config(
            ROOT / "src/paragonsr/recipes/demo.yml", [f"train.scheduler.type={scheduler}", f"train.budget={budget}"]
        ).config
        rate, total = learning_rate(config), config.train.total_iter
        assert rate(total - 1, 1.0) < 0.05 * max(rate(i, 1.0) for i in range(total))
