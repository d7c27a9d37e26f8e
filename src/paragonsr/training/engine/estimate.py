"""Time and memory of a configuration's training step, measured on random images before the run."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from paragonsr.archs.complexity import count_parameters
from paragonsr.automation.thread_choice import fewest_worth_it
from paragonsr.config import Config
from paragonsr.data.decoding import unheard
from paragonsr.data.sampling import Batch
from paragonsr.timing import passing, repeated
from paragonsr.training.control.automations import chooses_threads
from paragonsr.training.control.controller import Hyperparameters
from paragonsr.training.engine.device_context import DeviceContext, open_device_context
from paragonsr.training.engine.factory import add_training_parts, build_network, build_objective, build_step
from paragonsr.training.engine.memory import PeakMemory
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.thread_trials import candidates, threads, time_threads

WARM_UP = 2
"""Steps that are not timed: the first ones allocate memory and select kernels."""


@dataclass(frozen=True)
class Estimate:
    """Result of a few measured steps."""

    parameters: int
    device: str
    seconds: float
    """Median time of a step after the warm-up."""
    memory: float
    """Peak memory in bytes: of the GPU, or of this process on the CPU."""


def estimate(config: Config, seconds: float = 2.0) -> Estimate:
    """Time training steps with the configured batch, losses and optimiser on random images, for about `seconds`."""
    with open_device_context(config) as device_context:
        return measured_step(config, device_context, seconds)


def measured_step(config: Config, device_context: DeviceContext, seconds: float) -> Estimate:
    """Like `estimate`, for a process that has opened its device; leaves the random state of training untouched."""
    with torch.random.fork_rng():
        network = build_network(config, device_context)
        parameters = count_parameters(network)
        add_training_parts(config, network)
        objective = build_objective(config, device_context)
    memory = PeakMemory(device_context.device, limit_gb=None)
    step = trial_step(config, device_context, network, objective)
    with threads(_number(config, device_context, step)):
        # The time that passes, because a run is promised to take it.
        times = repeated(step, seconds, clock=passing(device_context.device), warm_up=WARM_UP)
    peak, _ = memory()
    return Estimate(parameters, str(device_context.device), statistics.median(times), peak)


def trial_step(
    config: Config, device_context: DeviceContext, network: nn.Module, objective: Objective
) -> Callable[[], float]:
    """Training step on random images of the configured size, at a rate of 0; each call ends when it is done."""
    train_step = build_step(device_context, network, objective, config.train.optim_g)
    settings = Hyperparameters(config.batch, config.micro_batch, grad_clip=None)
    shape = (config.batch, config.patch, config.patch, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    hr = images.repeat(config.scale, axis=1).repeat(config.scale, axis=2)
    batch = Batch(images, hr, tuple(range(config.batch)), ("random",) * config.batch)
    weights = objective.weights(0, {})
    return lambda: train_step.step(batch, settings, weights, 0.0).grad_norm.item()


def _number(config: Config, device_context: DeviceContext, step: Callable[[], float]) -> int:
    """Number of threads that the run would choose."""
    if not times_threads(config, device_context):
        return torch.get_num_threads()
    return fewest_worth_it(time_threads(step, unheard))


def times_threads(config: Config, device_context: DeviceContext) -> bool:
    """Whether a run chooses its number of threads: several processes share the cores as torchrun says, and on a GPU the
    threads do not matter."""
    alone = device_context.device.type == "cpu" and device_context.world == 1
    return chooses_threads(config) and alone and len(candidates()) > 1
