"""ICNet, the network of IC9600, without the head that draws a map; attributes are named as the published tensors are.

Feng, Zhai, Yang, Liang, Fan, Zhang, Shao, Tao: "IC9600: A Benchmark Dataset for Automatic Image Complexity
Assessment", TPAMI 2023.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WIDTH = 256
"""Channels of each branch where the two meet."""


class ICNet(nn.Module):
    """Complexity from two ResNet-18 trunks: details at full size, context at half."""

    def __init__(self) -> None:
        super().__init__()
        self.b1_1, self.b1_1_slam = _stem(), SpatialGate(32)
        self.b1_2, self.b1_2_slam = _layer(64, 128, 2), SpatialGate(32)
        self.b2_1, self.b2_1_slam = _stem(), SpatialGate(32)
        self.b2_2, self.b2_2_slam = _layer(64, 128, 2), SpatialGate(32)
        self.b2_3, self.b2_3_slam = _layer(128, 256, 2), SpatialGate(16)
        self.b2_4, self.b2_4_slam = _layer(256, 512, 2), SpatialGate(8)
        self.up1 = ConvNormReLU(128, _WIDTH, 1)
        self.up2 = ConvNormReLU(512, _WIDTH, 1)
        self.to_score_f, self.to_score_f_slam = ConvNormReLU(2 * _WIDTH, 2 * _WIDTH, 3), SpatialGate(32)
        self.head = nn.Sequential(nn.Linear(2 * _WIDTH, 512), nn.ReLU(), nn.Linear(512, 1), nn.Sigmoid())

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 512, 512), normalised with ImageNet's mean and deviation -> (N,) in 0 .. 1."""
        side = image.shape[-1]
        detail = self.b1_1_slam(self.b1_1(image))
        detail = self.b1_2_slam(self.b1_2(detail))
        context = self.b2_1_slam(self.b2_1(_resized(image, side // 2)))
        context = self.b2_2_slam(self.b2_2(context))
        context = self.b2_3_slam(self.b2_3(context))
        context = self.b2_4_slam(self.b2_4(context))
        both = [self.up1(_resized(detail, side // 8)), self.up2(_resized(context, side // 8))]
        features = self.to_score_f_slam(self.to_score_f(torch.cat(both, dim=1)))
        return self.head(features.mean(dim=(2, 3))).squeeze(1)


class SpatialGate(nn.Module):
    """Weighs every channel by what a small network makes of its map ("slam").

    Args:
        side: the map is resized to side x side for it.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.linear = nn.Sequential(nn.Linear(side**2, 512), nn.ReLU(), nn.Linear(512, 1), nn.Sigmoid())

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return features * self.linear(_resized(features, self.side).flatten(2))[..., None]


class ConvNormReLU(nn.Module):
    """Convolution, batch normalisation, ReLU; sides stay."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        return F.relu(self.bn(self.conv(x)))


class BasicBlock(nn.Module):
    """Residual block of ResNet-18 (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        change = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(change + self.downsample(x))


def _stem() -> nn.Sequential:
    """Everything of ResNet-18 up to its first layer: a quarter of the side, 64 channels."""
    first = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
    return nn.Sequential(first, nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1), _layer(64, 64, 1))


def _layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1))


def _resized(x: Tensor, side: int) -> Tensor:
    if x.shape[-1] == side:
        return x
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=True)
