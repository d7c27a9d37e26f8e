"""Time and memory of a configuration's training step, measured on random images before there is a run."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from paragonsr.config import Config
from paragonsr.data.sampling import Batch
from paragonsr.training.hardware import hardware
from paragonsr.training.objective import Objective
from paragonsr.training.settings import Settings
from paragonsr.training.step import Optimisation


@dataclass(frozen=True)
class Estimate:
    """What a few measured steps say."""

    parameters: int
    device: str
    seconds: float
    """Of one step, the median of those after the first."""
    memory: float
    """Peak bytes: on the device, or of this process on the CPU."""


def estimate(config: Config, steps: int = 4) -> Estimate:
    """Measure `steps` optimisation steps of the configured batch, losses and optimiser on random images."""
    with hardware(config) as machine:
        torch.manual_seed(0)
        network = config.network.build(scale=config.scale).to(machine.device)
        optimiser = config.train.optim_g.build(parameters=[p for p in network.parameters() if p.requires_grad])
        objective = Objective(config.train.losses, machine.device)
        optimisation = Optimisation(network, objective, optimiser, machine)
        settings = Settings(config.batch, config.micro_batch, None)
        shape = (config.batch, config.patch, config.patch, 3)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        hr = images.repeat(config.scale, axis=1).repeat(config.scale, axis=2)
        batch = Batch(images, hr, tuple(range(config.batch)), ("random",) * config.batch)
        seconds = []
        for _ in range(steps):
            began = time.perf_counter()
            step = optimisation.step(batch, settings, objective.weights(0, {}), 0.0)
            step.grad_norm.item()
            seconds.append(time.perf_counter() - began)
        peak, _ = machine.memory()
        count = sum(p.numel() for p in network.parameters())
        return Estimate(count, str(machine.device), sorted(seconds[1:])[len(seconds[1:]) // 2], peak)
