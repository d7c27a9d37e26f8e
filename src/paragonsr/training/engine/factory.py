"""The one place where network, losses, optimiser and step of a configuration are made."""

import torch
from torch import nn

from paragonsr.archs.branches import add_branches
from paragonsr.config import Config
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.step import TrainStep


def build_network(config: Config, device_context: DeviceContext) -> nn.Module:
    """The configured network with initial weights, on the device, in the memory layout of the training."""
    network: nn.Module = config.network.build(scale=config.scale).to(device_context.device)
    return network.to(memory_format=device_context.memory_format)  # type: ignore[call-overload]


def add_training_parts(config: Config, network: nn.Module) -> None:
    """Add to a network what it has only while it is trained; `merged` is what is saved of it."""
    if config.train.branches == "edge":
        add_branches(network)


def build_objective(config: Config, device_context: DeviceContext) -> Objective:
    """The configured losses, on the device. Frozen networks in them are made here, once: hand the objective on."""
    return Objective(config.train.losses, device_context)


def build_step(
    config: Config,
    device_context: DeviceContext,
    network: nn.Module,
    objective: Objective,
    forward: nn.Module | None = None,
) -> TrainStep:
    """The training step, with a new optimiser.

    Args:
        config: the run.
        device_context: device, precision, processes.
        network: what is trained.
        objective: the losses.
        forward: the network as it is called, where that is not the network itself.
    """
    optimiser: torch.optim.Optimizer = config.train.optim_g.build(
        parameters=[p for p in network.parameters() if p.requires_grad]
    )
    return TrainStep(network, objective, optimiser, device_context, forward)
