"""Choice of a bundled model by the speed of this machine, if the user names none."""

import numpy as np
import torch

from paragonsr import models
from paragonsr.errors import UserError
from paragonsr.inference.model import Upscaler, load
from paragonsr.timing import clock_for, in_turns

SIDE = 96
"""Side of the LR image on which speed is measured, in pixels."""
WANTED = 1.0
"""Minimum speed of a model to be chosen, in megapixels of output per second."""


def best_model(scale: int = 2, device: str | None = None, precision: str = "fp32") -> tuple[str, float]:
    """Find the best model that is fast enough on this machine.

    Args:
        scale: scale of the model.
        device: as in `load`.
        precision: as in `load`.

    Returns:
        name of the model with the highest PSNR that reaches WANTED, else of the fastest one; and its speed in
        megapixels of output per second.

    Raises:
        UserError: no bundled model has this scale.
    """
    fitting = [name for name in models.names() if models.card(name)["scale"] == scale]
    if not fitting:
        raise UserError(f"no bundled model has scale {scale}", fix="Give weights with --model.")
    speeds: dict[str, float] = {}
    for name in sorted(fitting, key=lambda name: models.card(name)["measured"]["Set14"]["psnr_y"], reverse=True):
        speeds[name] = megapixels_per_second(load(name, device=device, precision=precision))
        if speeds[name] >= WANTED:
            return name, speeds[name]
    quickest = max(speeds, key=speeds.__getitem__)
    return quickest, speeds[quickest]


def megapixels_per_second(upscaler: Upscaler) -> float:
    """Speed of a model on a small image: the better of two runs after a warm-up."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    clock = clock_for(upscaler.device, torch.get_num_threads())
    seconds = in_turns({"": lambda: upscaler.upscale(image)}, 2, clock=clock, warm_up=1)[""]
    return (SIDE * upscaler.scale) ** 2 / 1e6 / min(seconds)
