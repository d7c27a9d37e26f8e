"""LPIPS, DISTS and plain feature distance, each with a network; from images to distances.

The official weights of LPIPS and DISTS belong to the channels of torchvision's VGG16. With another network there is a
distance of the same form with even weights, under another name.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from paragonsr.errors import UserError
from paragonsr.features.distances import dists, even_weights, unit_distance
from paragonsr.features.lite import LiteFeatures
from paragonsr.features.vgg import CONVOLUTIONS, WIDTHS, Features, Network

AnyNetwork = Literal["vgg19", "vgg16", "hed-vgg16", "efficientnet-lite0"]


def last_layers(network: Network) -> list[str]:
    """The last convolution of each block."""
    return [f"conv{block}_{count}" for block, count in enumerate(CONVOLUTIONS[network], 1)]


class FeatureDistance(nn.Module):
    """`unit_distance` with even weights, of the last layers of each block (VGG), or of each resolution."""

    def __init__(self, network: AnyNetwork, weights: str | None = None) -> None:
        super().__init__()
        self.features: nn.Module
        if network == "efficientnet-lite0":
            self.features = LiteFeatures()
        else:
            self.features = Features(network, last_layers(network), weights, after_relu=True)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """N distances of N x 3 x H x W images in [0, 1]."""
        return unit_distance(self.features(sr), self.features(hr))


class LPIPS(nn.Module):
    """LPIPS, version 0.1, VGG: torchvision's VGG16, and the weights in the package lpips (BSD)."""

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        layers = last_layers("vgg16")
        self.features = Features("vgg16", layers, weights, after_relu=True)
        state = _packaged("lpips", "weights/v0.1/vgg.pth", "LPIPS")
        for number in range(len(layers)):
            self.register_buffer(f"linear{number}", state[f"lin{number}.model.1.weight"].flatten())

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """N distances of N x 3 x H x W images in [0, 1]."""
        linear = {layer: self.get_buffer(f"linear{number}") for number, layer in enumerate(self.features.layers)}
        return unit_distance(self.features(sr), self.features(hr), linear)


class DISTS(nn.Module):
    """DISTS at the images' own size: with vgg16 and the weights in the package dists-pytorch (MIT), or with another VGG
    network and even weights."""

    def __init__(self, network: Network, weights: str | None = None) -> None:
        super().__init__()
        self.features = Features(network, last_layers(network), weights, after_relu=True, pooling="l2")
        widths = (3, *WIDTHS)
        alpha = beta = even_weights(widths)
        if network == "vgg16":
            state = _packaged("DISTS_pytorch", "weights.pt", "DISTS")
            whole = state["alpha"].sum() + state["beta"].sum()
            alpha, beta = (list((state[name].flatten() / whole).split(widths)) for name in ("alpha", "beta"))
        for number, (a, b) in enumerate(zip(alpha, beta, strict=True)):
            self.register_buffer(f"alpha{number}", a)
            self.register_buffer(f"beta{number}", b)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """N distances of N x 3 x H x W images in [0, 1]."""
        ours, theirs = ([image, *self.features(image).values()] for image in (sr, hr))
        weights = [[self.get_buffer(f"{name}{i}") for i in range(len(ours))] for name in ("alpha", "beta")]
        return dists(ours, theirs, *weights)


def _packaged(package: str, file: str, what: str) -> dict[str, Tensor]:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        install = "lpips" if package == "lpips" else "dists-pytorch"
        raise UserError(f"{what} needs the weights in the package {install}", fix=f"pip install --no-deps {install}")
    state: dict[str, Tensor] = torch.load(Path(spec.origin).parent / file, map_location="cpu", weights_only=True)
    return state
