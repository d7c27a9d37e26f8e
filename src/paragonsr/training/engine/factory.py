"""Factory for the network, losses, optimiser and step of a configuration."""

import torch
from torch import nn

from paragonsr.archs.branches import add_branches
from paragonsr.config import Config
from paragonsr.optim.options import OptimiserOptions
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.step import TrainStep


def build_network(config: Config, device_context: DeviceContext) -> nn.Module:
    """Build the configured network with initial weights, on the device, in the memory layout used for training."""
    network: nn.Module = config.network.build(scale=config.scale).to(device_context.device)
    return network.to(memory_format=device_context.memory_format)  # type: ignore[call-overload]


def add_training_parts(config: Config, network: nn.Module) -> None:
    """Add the training-only parts of a network; `merged` returns the network without them, for saving."""
    if config.train.branches == "edge":
        add_branches(network)


def build_objective(config: Config, device_context: DeviceContext) -> Objective:
    """Build the configured losses on the device. This loads their frozen networks, so share the objective."""
    return Objective(config.train.losses, device_context)


def build_step(
    device_context: DeviceContext,
    network: nn.Module,
    objective: Objective,
    options: OptimiserOptions,
    forward: nn.Module | None = None,
) -> TrainStep:
    """Build the training step with a new optimiser.

    Args:
        device_context: device, precision, processes.
        network: the network to train.
        objective: the losses.
        options: the optimiser.
        forward: the network as it is called (compiled, wrapped), if different from `network`.
    """
    optimiser: torch.optim.Optimizer = options.build(parameters=[p for p in network.parameters() if p.requires_grad])
    return TrainStep(network, objective, optimiser, device_context, forward)
