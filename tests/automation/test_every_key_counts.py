"""D20: each key of each automation changes decisions, or is read by a part that is named here."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from paragonsr.automation.batch_size import BatchSize
from paragonsr.automation.clipping import GradientClipping
from paragonsr.automation.early_stopping import EarlyStopping
from paragonsr.automation.learning_rate import LearningRate
from paragonsr.automation.loss_balance import STATISTICS, LossBalance
from paragonsr.automation.options import (
    AutomationOptions,
    BatchSizeOptions,
    EarlyStoppingOptions,
    GradientClippingOptions,
    LearningRateOptions,
    LossBalanceOptions,
)
from paragonsr.automation.protocol import Automation, Measurements, MetricValue, Observation, Validation

Make = Callable[..., Any]
Keys = dict[str, Any]
TOTAL, WINDOW = 3000, 20


def _observations(make_steps: Make) -> Iterator[Observation]:
    """A run with changing losses, norms, memory and validation, and one change of its rate."""
    random = np.random.default_rng(0)
    yield Measurements(0, STATISTICS, {"texture_variance": 0.5})
    for end in range(WINDOW, TOTAL + 1, WINDOW):
        at = np.arange(end - WINDOW, end)
        values: Keys = {
            "lr": np.where(at < 2500, 1e-3, 4e-4),
            "loss/l1": 0.01 * (1 + np.exp(-at / 100)) * random.lognormal(0, 0.002, WINDOW),
            "loss/mssim": 0.1 * (1 + np.exp(-at / 100)) * random.lognormal(0, 0.002, WINDOW),
            "loss_grad/l1": random.lognormal(0, 0.1, WINDOW),
            "loss_grad/mssim": 10 * np.exp(-at / 600) * random.lognormal(0, 0.1, WINDOW),
            "loss_weight/l1": 1.0,
            "loss_weight/mssim": 0.05,
            "grad_norm": np.exp(-at / 1000) * random.lognormal(0, 0.2, WINDOW),
            "half_grad_norm": 1.4 * np.exp(-at / 1000),
            "peak_memory": 5.4e9,
            "seconds": 0.01,
        }
        yield make_steps(end, WINDOW, **values)
        if end % 100 == 0:
            # Both metrics stop improving, one earlier than the other.
            sets = {
                "val": {m: MetricValue(30 + min(end, until) / 1e4, "higher", "test") for m, until in _METRICS.items()}
            }
            yield Validation(end, sets)


_METRICS = {"psnr": 900, "ssim": 2900}


def _made(options: AutomationOptions, make_steps: Make) -> list[Any]:
    """All decisions, as if each took effect at once."""
    automations: dict[type[AutomationOptions], Callable[[Any], Automation]] = {
        LossBalanceOptions: lambda o: LossBalance(o, ["l1", "mssim"], TOTAL, 10_000),
        LearningRateOptions: lambda o: LearningRate(o, TOTAL, 0, 10_000, 1.0),
        BatchSizeOptions: lambda o: BatchSize(o, 8, 8, 1),
        EarlyStoppingOptions: lambda o: EarlyStopping(o, TOTAL),
        GradientClippingOptions: lambda o: GradientClipping(o),
    }
    automation = automations[type(options)](options)
    return [(o.iteration, decision) for o in _observations(make_steps) for decision in automation.observe(o)]


BASES: dict[type[AutomationOptions], Keys] = {
    LossBalanceOptions: {"baseline_iterations": 100},
    LearningRateOptions: {"adaptation_frequency": 200},
    BatchSizeOptions: {"target_vram_usage": 0.9},
    EarlyStoppingOptions: {"patience": 500},
    GradientClippingOptions: {},
}
CHANGES: dict[type[AutomationOptions], dict[str, Keys]] = {
    LossBalanceOptions: {
        "auto_calibrate": {"auto_calibrate": True},
        "momentum": {"momentum": 0.5},
        "adaptation_rate": {"adaptation_rate": 1e-4},
        "min_weight": {"min_weight": 0.99, "target_shares": {"mssim": 0.1}},
        "max_weight": {"max_weight": 1.01},
        "adaptation_threshold": {"adaptation_threshold": 0.5},
        "baseline_iterations": {"baseline_iterations": 700},
        "target_shares": {"target_shares": {"mssim": 0.6}},
        "share_floor": {"share_floor": 0.9},
        "late_share": {"late_share": 0.0},
    },
    LearningRateOptions: {
        "strategy": {"strategy": "plateau"},
        "adaptation_frequency": {"adaptation_frequency": 1400},
        "improvement_threshold": {"improvement_threshold": 0.0},
    },
    BatchSizeOptions: {
        "mode": {"mode": "throughput"},
        "target_vram_usage": {"target_vram_usage": 0.6},
        "safety_margin": {"target_vram_usage": 0.6, "safety_margin": 0.2},
        "adjustment_frequency": {"adjustment_frequency": 1000},
        "min_batch_size": {"mode": "throughput", "min_batch_size": 8},
        "max_batch_size": {"max_batch_size": 8},
    },
    EarlyStoppingOptions: {
        "patience": {"patience": 600},
        "min_improvement": {"min_improvement": 0.05},
    },
    GradientClippingOptions: {
        "percentile": {"percentile": 20.0},
        "gradient_history_size": {"gradient_history_size": 300},
    },
}
ELSEWHERE = {
    "enabled": "make_automations",
    "dry_run": "DryRun",
    "enable_monitoring": "TensorBoardLogger",
    "memory_limit_gb": "PeakMemory",
    "base_rate": "RateChoice",
    "optimiser": "RateChoice",
}
BESIDE: dict[str, Keys] = {
    # Reference values for keys whose change alone would not show an effect.
    "min_weight": {"target_shares": {"mssim": 0.1}},
    "safety_margin": {"target_vram_usage": 0.6},
    "min_batch_size": {"mode": "throughput"},
}


@pytest.mark.parametrize("model", BASES, ids=lambda model: model.__name__)
def test_d20_no_key_is_forgotten_here(model: type[AutomationOptions]) -> None:
    assert CHANGES[model].keys() | (ELSEWHERE.keys() & model.model_fields.keys()) == model.model_fields.keys()


@pytest.mark.parametrize(
    ("model", "key"), [(model, key) for model, keys in CHANGES.items() for key in keys], ids=lambda value: str(value)
)
def test_d20_each_key_changes_what_is_decided(model: type[AutomationOptions], key: str, make_steps: Make) -> None:
    before = BASES[model] | BESIDE.get(key, {})
    made = [
        _made(model.model_validate({"enabled": True} | keys), make_steps)
        for keys in (before, before | CHANGES[model][key])
    ]
    assert made[0] != made[1]
