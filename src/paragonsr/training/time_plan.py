"""Conversion of a time budget into iterations, from the measured speed of a step."""

import math
from pathlib import Path

import numpy as np

from paragonsr.config import Config
from paragonsr.config.rescaling import fitted, rescaling
from paragonsr.run_description import has_description, read_description
from paragonsr.training.checkpoint.run_folder import RunFolder
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.estimate import measured_step

MEASURED_SHARE = 0.02
"""Share of the budget that is spent on measuring the speed."""
LONGEST_SECONDS = 10.0
"""Upper limit of that time, in seconds."""


def planned(config: Config, folder: RunFolder, device_context: DeviceContext) -> tuple[Config, str | None]:
    """Fit the configuration to a budget in seconds, and say what changed; without such a budget nothing changes.

    A resumed run keeps the plan it was started with, even if the machine is faster or slower now.
    """
    budget = config.train.budget
    if budget is None or budget.unit != "seconds":
        return config, None
    begun = as_begun(config, folder.path)
    if begun is not None:
        return begun, None
    seconds = measured_step(config, device_context, min(LONGEST_SECONDS, MEASURED_SHARE * budget.amount)).seconds
    slowest = float(device_context.mean(np.array([seconds]))[0])
    plan = fitted(config, max(1, math.floor(budget.amount / slowest)))
    return plan, f"{slowest * 1e3:.1f} ms per step measured; {rescaling(config, plan)}"


def as_begun(config: Config, folder: Path) -> Config | None:
    """Plan that an earlier session of the run made from the same time budget; None if there is none."""
    budget = config.train.budget
    if budget is None or budget.unit != "seconds" or not has_description(folder):
        return None
    train = read_description(folder)["config"]["train"]
    return fitted(config, train["total_iter"]) if train.get("budget") == str(budget) else None
