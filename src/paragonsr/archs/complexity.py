"""What a network costs."""

import copy

from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(network: nn.Module) -> int:
    """All parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, height: int, width: int) -> int:
    """Multiply-accumulates of all convolutions, matrix products and attentions for one LR image of height x width."""
    frozen = copy.deepcopy(network).eval().requires_grad_(False)  # the counter trips over views of trained tensors
    image = next(frozen.parameters()).new_zeros(1, 3, height, width)
    with FlopCounterMode(display=False) as counter:
        frozen(image)
    return counter.get_total_flops() // 2
