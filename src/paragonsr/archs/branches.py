"""3x3 convolutions that are trained as sums of branches, and are one 3x3 convolution afterwards.

The branches are those of ECB (Zhang et al. 2021, "Edge-oriented convolution block for real-time super resolution"): a
1x1 convolution; a 1x1 and a 3x3 convolution in a row; a 1x1 convolution followed by a Sobel filter along x, one along
y, or a Laplacian. Each is linear, so their sum is a 3x3 kernel. It is summed before the convolution (as in SESR,
2103.09404): a step costs one convolution, as without branches.
"""

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EDGES = torch.tensor(
    [
        [[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]],
        [[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]],
        [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]],
    ],
    device="cpu",
)
"""Sobel along x, Sobel along y, Laplacian."""
EXPANSION = 2
"""Channels between the two convolutions in a row, per output channel."""


class EdgeBranches(nn.Module):
    """The kernel that a plain 3x3 kernel and its branches add up to; at first the plain kernel itself.

    Args:
        out_channels: of the convolution.
        in_channels: of the convolution.
    """

    edges: Tensor

    def __init__(self, out_channels: int, in_channels: int) -> None:
        super().__init__()
        wide = EXPANSION * out_channels
        self.register_buffer("edges", EDGES.clone(), persistent=False)
        self.point = nn.Parameter(torch.zeros(out_channels, in_channels))
        self.edge_points = nn.Parameter(_random(len(EDGES), out_channels, in_channels, fan_in=in_channels))
        self.edge_scales = nn.Parameter(torch.zeros(len(EDGES), out_channels))
        self.expand = nn.Parameter(_random(wide, in_channels, fan_in=in_channels))
        self.reduce = nn.Parameter(torch.zeros(out_channels, wide, 3, 3))

    def forward(self, plain: Tensor) -> Tensor:
        """(out, in, 3, 3) -> (out, in, 3, 3)."""
        point = F.pad(self.point[:, :, None, None], (1, 1, 1, 1))
        edges = torch.einsum("eo,eoi,ekl->oikl", self.edge_scales, self.edge_points, self.edges)
        row = torch.einsum("owkl,wi->oikl", self.reduce, self.expand)
        return plain + point + edges + row


class BranchedConv(nn.Conv2d):
    """A 3x3 convolution with branches, made of a plain one, whose weight and bias it holds."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(**_arguments(layer))
        self.weight, self.bias = layer.weight, layer.bias
        self.branches = EdgeBranches(layer.out_channels, layer.in_channels).to(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H', W')."""
        return self._conv_forward(x, self.branches(self.weight), self.bias)

    def plain(self) -> nn.Conv2d:
        """The convolution without branches, with a weight of its own, that computes the same."""
        layer = nn.Conv2d(**_arguments(self))
        layer.weight, layer.bias = nn.Parameter(self.branches(self.weight).detach()), self.bias
        return layer.train(self.training)


def add_branches(network: nn.Module) -> None:
    """Train every 3x3 convolution of a network as a sum of branches; what it computes stays as it is."""
    for name, layer in list(network.named_modules()):
        if type(layer) is nn.Conv2d and layer.kernel_size == (3, 3) and layer.groups == 1:
            network.set_submodule(name, BranchedConv(layer))


def merged(network: nn.Module) -> nn.Module:
    """The network without branches, a copy where it has any: the same function, and the tensors it was built with."""
    if not any(isinstance(layer, BranchedConv) for layer in network.modules()):
        return network
    plain = copy.deepcopy(network)
    for name, layer in list(plain.named_modules()):
        if isinstance(layer, BranchedConv):
            plain.set_submodule(name, layer.plain())
    return plain


def _arguments(layer: nn.Conv2d) -> dict[str, Any]:
    """Those that a convolution was constructed with; its tensors are to be replaced."""
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "padding_mode")
    return {name: getattr(layer, name) for name in names} | {"bias": layer.bias is not None, "device": "meta"}


def _random(*shape: int, fan_in: int) -> Tensor:
    """PyTorch's start of a convolution with so many inputs."""
    bound = 1 / math.sqrt(fan_in)
    return torch.empty(shape).uniform_(-bound, bound)
