"""Short trials of learning rates and optimisers, all from the same initial weights on the same samples."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from paragonsr.automation.protocol import Measurements
from paragonsr.automation.rate_choice import TRIED, trial_name
from paragonsr.config import Config
from paragonsr.data.sampling import Sampler
from paragonsr.optim.options import OptimiserOptions
from paragonsr.training.control.automations import tried_optimisers
from paragonsr.training.control.controller import Hyperparameters
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.factory import build_step
from paragonsr.training.engine.objective import Objective

SHARE = 0.03
"""Share of the run's iterations spent on all trials together; twice as much if optimisers are compared."""
FEWEST_STEPS = 40
"""Minimum steps of a trial: with fewer, the result is chance. A run too short for all rates tries only the first ones;
a run too short for two rates tries none."""
MOST_STEPS = 500
"""Maximum steps of a trial: more would add no information."""
WARM_UP_SHARE = 0.1
"""Share of a trial that is warm-up."""
SCORED_SHARE = 0.25
"""Share of a trial, at its end, over which the loss is averaged."""


def try_rates(
    config: Config,
    device_context: DeviceContext,
    network: nn.Module,
    objective: Objective,
    sampler: Sampler,
    progress: Callable[[int, int], None],
) -> Measurements:
    """Train a copy of the network with each optimiser and rate, annealed linearly to 0, and score its end.

    The network itself, its samples and all random generators are left unchanged.

    Args:
        config: the run; the trials use its losses, and the optimisers of `tried_optimisers`.
        device_context: device, precision, processes.
        network: the network with its initial weights.
        objective: the losses; learned losses are not trained.
        sampler: the run's samples.
        progress: called with the number of steps done and their total.

    Returns:
        mean weighted loss over the last quarter of each trial, keyed by `trial_name`; infinite if it diverged.
    """
    candidates = tried_optimisers(config)
    several = len({options.type for options in candidates}) > 1
    allowed = int(SHARE * config.train.total_iter) * (2 if several else 1)
    count = min(allowed // FEWEST_STEPS, len(candidates))
    chosen = candidates[:count] if count > 1 else []
    steps = min(allowed // max(count, 1), MOST_STEPS)
    losses: dict[str, float] = {}
    with torch.random.fork_rng(devices=[device_context.device] if device_context.device.type == "cuda" else []):
        for number, options in enumerate(chosen):

            def made(step: int, before: int = number * steps) -> None:
                progress(before + step, len(chosen) * steps)

            losses[trial_name(options.first_lr, options.type if several else None)] = _trial(
                config, device_context, copy.deepcopy(network), objective.frozen(), sampler, options, steps, made
            )
    return Measurements(0, TRIED, losses)


def _trial(
    config: Config,
    device_context: DeviceContext,
    network: nn.Module,
    objective: Objective,
    sampler: Sampler,
    optimiser: OptimiserOptions,
    steps: int,
    made: Callable[[int], None],
) -> float:
    # Each process takes its share of the samples; the losses are averaged at the end, so that all choose the same rate.
    alone = DeviceContext(device_context.device, device_context.dtype, device_context.channels_last)
    train_step = build_step(alone, network, objective, optimiser)
    options = config.train
    settings = Hyperparameters(config.batch, config.micro_batch, options.grad_clip_norm if options.grad_clip else None)
    weights = objective.weights(0, {})
    scored = []
    for step in range(steps):
        first = (step * device_context.world + device_context.rank) * config.batch
        factor = min((step + 1) / max(WARM_UP_SHARE * steps, 1), (steps - step) / ((1 - WARM_UP_SHARE) * steps), 1.0)
        done = train_step.step(sampler.batch(first, config.batch), settings, weights, optimiser.first_lr * factor)
        if step >= (1 - SCORED_SHARE) * steps:
            scored.append(sum(weights[label] * value for label, value in done.values.items()))
        made(step + 1)
    loss = float(device_context.mean(np.array([float(torch.stack(scored).mean())]))[0])  # type: ignore[arg-type]
    return loss if np.isfinite(loss) else float("inf")
