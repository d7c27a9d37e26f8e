"""Cost of a network: parameters and multiply-accumulates."""

import copy

from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(network: nn.Module) -> int:
    """Count all parameters, including frozen ones."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, height: int, width: int) -> int:
    """Count the multiply-accumulates of convolutions, matrix products and attention for one LR image."""
    frozen = copy.deepcopy(network).eval().requires_grad_(False)  # the counter fails on views of trainable tensors
    image = next(frozen.parameters()).new_zeros(1, 3, height, width)
    with FlopCounterMode(display=False) as counter:
        frozen(image)
    return counter.get_total_flops() // 2
