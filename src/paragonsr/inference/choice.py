"""Choice of a bundled model by the speed of this machine, if the user names none."""

import statistics

import numpy as np
import torch

from paragonsr import models
from paragonsr.errors import UserError
from paragonsr.inference.model import Upscaler, load
from paragonsr.timing import clock_for, repeated

SIDE = 96
"""Side of the LR image on which speed is measured, in pixels."""
WANTED = 1.0
"""Minimum speed of a model to be chosen, in megapixels of output per second."""
MARGIN = 1.05
"""Factor by which a model must exceed WANTED, and a faster model one of higher PSNR; measurements vary by as much."""
TURNS = 3
"""Timed runs of a model, of which the median counts."""


def best_model(scale: int = 2, device: str | None = None, precision: str = "fp32") -> tuple[str, float]:
    """Find the best model that is fast enough on this machine.

    Args:
        scale: scale of the model.
        device: as in `load`.
        precision: as in `load`.

    Returns:
        name of the model with the highest PSNR that exceeds WANTED by MARGIN, else of the best that none exceeds in
        speed by more than MARGIN; and its speed in megapixels of output per second.

    Raises:
        UserError: no bundled model has this scale.
    """
    fitting = [name for name in models.names() if models.card(name)["scale"] == scale]
    if not fitting:
        raise UserError(f"no bundled model has scale {scale}", fix="Give weights with --model.")
    speeds: dict[str, float] = {}
    for name in sorted(fitting, key=lambda name: models.card(name)["measured"]["Set14"]["psnr_y"], reverse=True):
        speeds[name] = megapixels_per_second(load(name, device=device, precision=precision))
        if speeds[name] >= MARGIN * WANTED:
            return name, speeds[name]
    most = max(speeds.values())
    return next((name, speed) for name, speed in speeds.items() if MARGIN * speed >= most)


def megapixels_per_second(upscaler: Upscaler) -> float:
    """Speed of a model on a small image: the median of three runs after a warm-up."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    clock = clock_for(upscaler.device, torch.get_num_threads())
    seconds = repeated(lambda: upscaler.upscale(image), 0, clock=clock, warm_up=1, fewest=TURNS)
    return (SIDE * upscaler.scale) ** 2 / 1e6 / statistics.median(seconds)
