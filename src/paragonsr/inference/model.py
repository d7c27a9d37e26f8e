"""Loading a trained network and using it on an image."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from paragonsr.archs.weights import load_network
from paragonsr.errors import UserError
from paragonsr.inference.tiler import upscale


class Upscaler:
    """A network that is ready to be used.

    Args:
        network: maps N x 3 x h x w in [0, 1] to N x 3 x scale h x scale w.
        scale: enlargement.
        device: where it computes.
    """

    def __init__(self, network: nn.Module, scale: int, device: torch.device) -> None:
        self.network = network.eval().requires_grad_(False).to(device)
        self.scale, self.device = scale, device

    def upscale(self, image: np.ndarray, *, tile: int = 0, overlap: int = 16) -> np.ndarray:
        """Upscale one image.

        Args:
            image: h x w x 3, uint8 or float in [0, 1].
            tile: side of a tile in LR pixels; 0 takes the image whole.
            overlap: context around a tile in LR pixels.

        Returns:
            scale h x scale w x 3, of the same type: uint8, or float32 clipped to [0, 1].

        Raises:
            UserError: the image has another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise UserError(f"an image is height x width x 3, not {' x '.join(map(str, image.shape))}")
        if image.dtype == np.uint8:
            tensor = torch.from_numpy(np.array(image, order="C")).to(self.device).float() / 255
        elif np.issubdtype(image.dtype, np.floating):
            tensor = torch.from_numpy(np.array(image, dtype=np.float32, order="C")).to(self.device)
        else:
            raise UserError(f"an image is uint8 or float in [0, 1], not {image.dtype}")
        sr = upscale(self.network, tensor.permute(2, 0, 1)[None], self.scale, tile=tile, overlap=overlap)
        sr = sr[0].permute(1, 2, 0).float().clamp(0, 1)
        if image.dtype == np.uint8:
            # Half to even, as the measuring protocol has it.
            return (sr * 255).round().to(torch.uint8).cpu().numpy()
        return sr.cpu().numpy()


def load(
    path: str | Path,
    arch: str | None = None,
    scale: int | None = None,
    device: str | torch.device | None = None,
    **options: Any,
) -> Upscaler:
    """Load weights: ours restore themselves from their header, published ones by `arch`, `scale` and `options`.

    Args:
        path: .safetensors or .pth.
        arch: name of the network, where the file does not say it and its tensors leave it open.
        scale: enlargement, likewise.
        device: where to compute; the GPU if there is one.
        options: options of the network; they win over what the file says.

    Raises:
        UserError: no weights, or weights of something else.
    """
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with torch.random.fork_rng():  # building a network draws its initial weights
        network = load_network(path, arch=arch, scale=scale, **options)
    return Upscaler(network, cast(int, network.scale), chosen)
