"""Exponential moving average of the weights, which is validated and saved."""

import copy

import torch
from torch import nn


class EMA:
    """Exponential moving average of a network's parameters; buffers are copied.

    After n updates the decay is min(decay, 1 - (1 + n)^-power): the average follows fast at first and then slower, so
    that it soon forgets the random initial weights.

    Args:
        network: the trained network.
        decay: maximum decay, in [0, 1); with 0 there is no average, and `copy` is called when it is needed.
        power: speed at which the decay is reached.
    """

    def __init__(self, network: nn.Module, decay: float, power: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay, self.power = decay, power
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Update the average with the network's current weights."""
        if not self.decay:
            return
        self.updates += 1
        decay = min(self.decay, 1 - (1 + self.updates) ** -self.power)
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - decay)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)

    def copy(self, network: nn.Module) -> None:
        """Copy the network's weights."""
        self.network.load_state_dict(network.state_dict())
