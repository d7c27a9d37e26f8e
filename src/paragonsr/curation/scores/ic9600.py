"""Loading of the IC9600 network, which scores complexity; the user provides its weights."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paragonsr.errors import UserError

_SIDE = 512
_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet in R, G, B."""
_DEVIATION = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet in R, G, B."""


def open_ic9600(weights: Path | None) -> Callable[[NDArray[np.uint8]], float]:
    """Load the network (Feng et al. 2023, "IC9600: a benchmark dataset for automatic image complexity assessment").

    Args:
        weights: the authors' `ck.pth`, or the same tensors as .safetensors.

    Returns:
        h x w x 3 uint8 RGB, resized to 512 x 512 -> complexity, 0 .. 1.

    Raises:
        UserError: the weights are not given, unreadable, or of another network.
    """
    if weights is None:
        raise UserError(
            "ic9600 needs its weights",
            where="also",
            fix="Give the weights file of github.com/tinglyfeng/IC9600: ic9600=ck.pth",
        )
    import torch

    from paragonsr.curation.scores.icnet import ICNet
    from paragonsr.devices import best_device

    device = best_device()
    network = ICNet().eval()
    # The head that predicts a complexity map is not needed for the score.
    tensors = {name: tensor for name, tensor in _read(weights).items() if not name.startswith("to_map")}
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"are not weights of ic9600: {error}", where=str(weights)) from error
    network.to(device)
    mean, deviation = (torch.tensor(values, device=device).view(3, 1, 1) for values in (_MEAN, _DEVIATION))

    @torch.inference_mode()
    def score(image: NDArray[np.uint8]) -> float:
        picture = Image.fromarray(np.ascontiguousarray(image)).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(picture)).to(device).permute(2, 0, 1) / 255
        return float(network(((pixels - mean) / deviation)[None]))

    return score


def _read(path: Path) -> dict[str, Any]:
    """Tensors by name; executes no code from the file."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    except pickle.UnpicklingError as error:
        raise UserError(f"are not readable weights: {error}", where=str(path)) from error
    except Exception as error:  # a damaged file may make the reader raise anything
        raise UserError("are not readable weights", where=str(path), fix="Download them again.") from error
    if not isinstance(found, dict):
        raise UserError("are not weights of ic9600", where=str(path))
    return found
