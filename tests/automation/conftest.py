"""Observations like those of a run, from a few values."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from paragonsr.automation.protocol import MetricValue, Steps, Validation


def steps(iteration: int, count: int = 50, **values: Any) -> Steps:
    """A window of `count` steps that ends with `iteration`; values are numbers or arrays."""
    at = np.arange(iteration - count + 1, iteration + 1, dtype=float)
    whole: dict[str, Any] = {
        "iteration": at,
        "position": at - 1,
        "samples_seen": at * 8,
        "lr": 1e-3,
        "batch_size": 8,
        "micro_batch": 8,
        "out_of_memory": 0,
        "grad_norm": 1.0,
        "half_grad_norm": np.nan,
        "finite": 1,
        "seconds": 0.01,
        "data_wait": 0.0,
        "peak_memory": 1e9,
        "total_memory": 8e9,
    }
    whole |= values
    return Steps(iteration, {k: np.broadcast_to(np.asarray(v, float), count).copy() for k, v in whole.items()})


def validation(iteration: int, better: str = "higher", seconds: float = 0.0, **sets: float) -> Validation:
    """One value, psnr, on each of the named sets."""
    values: Mapping[str, Any] = {name: {"psnr": MetricValue(value, better, "test")} for name, value in sets.items()}  # type: ignore[arg-type]
    return Validation(iteration, values, seconds)


@pytest.fixture
def make_steps() -> Callable[..., Steps]:
    """steps(iteration, count=50, **values)"""
    return steps


@pytest.fixture
def make_validation() -> Callable[..., Validation]:
    """validation(iteration, better="higher", seconds=0.0, **sets)"""
    return validation
