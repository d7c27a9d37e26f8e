"""The exponential moving average of the weights, which is what is validated and kept."""

import copy

import torch
from torch import nn


class EMA:
    """Moving average of a network's parameters; buffers are copied.

    After n updates the decay is min(decay, 1 - (1 + n)^-power): the average starts fast and slows down, so that the
    random initial weights leave it soon.

    Args:
        network: the network that is trained.
        decay: largest decay, in [0, 1); with 0 there is no average, and `copy` is called where one is wanted.
        power: how fast the decay is reached.
    """

    def __init__(self, network: nn.Module, decay: float, power: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay, self.power = decay, power
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network's present weights."""
        if not self.decay:
            return
        self.updates += 1
        decay = min(self.decay, 1 - (1 + self.updates) ** -self.power)
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - decay)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)

    def copy(self, network: nn.Module) -> None:
        """Become equal to the network."""
        self.network.load_state_dict(network.state_dict())
