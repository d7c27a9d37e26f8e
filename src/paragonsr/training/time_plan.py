"""A budget of seconds, turned into iterations by the measured speed of a step."""

import math

import numpy as np

from paragonsr.config import Config
from paragonsr.config.rescaling import fitted, rescaling
from paragonsr.training.checkpoint.run_folder import RunFolder
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.estimate import measured_step

MEASURED_SHARE = 0.02
"""Share of the budget that measuring the speed takes."""
LONGEST_SECONDS = 20.0
"""Most seconds that it takes."""


def planned(config: Config, folder: RunFolder, device_context: DeviceContext) -> tuple[Config, str | None]:
    """The configuration that fits a budget of seconds, and what changed in it; any other is left as it is.

    A resumed run keeps the plan that it was begun with, whatever the machine would do today.
    """
    budget = config.train.budget
    if budget is None or budget.unit != "seconds":
        return config, None
    earlier = folder.read()
    if earlier is not None and earlier["config"]["train"].get("budget") == str(budget):
        return fitted(config, earlier["config"]["train"]["total_iter"]), None
    seconds = measured_step(config, device_context, min(LONGEST_SECONDS, MEASURED_SHARE * budget.amount)).seconds
    slowest = float(device_context.mean(np.array([seconds]))[0])
    plan = fitted(config, max(1, math.floor(budget.amount / slowest)))
    return plan, f"{slowest * 1e3:.1f} ms per step measured; {rescaling(config, plan)}"
