"""Which of the models that come with the package this machine upscales with, where the user names none."""

import time

import numpy as np

from paragonsr import models
from paragonsr.errors import UserError
from paragonsr.inference.model import Upscaler, load

SIDE = 96
"""Side of the LR image on which speed is measured, pixels."""
WANTED = 1.0
"""Megapixels of output per second that a model must reach to be taken."""


def best_model(scale: int = 2, device: str | None = None, precision: str = "fp32") -> tuple[str, float]:
    """Find the best model that is quick enough here.

    Args:
        scale: of the model.
        device: as of `load`.
        precision: as of `load`.

    Returns:
        name of the model with the highest PSNR that reaches WANTED, else of the quickest; and its megapixels of output
        per second.

    Raises:
        UserError: no model has this scale.
    """
    fitting = [name for name in models.names() if models.card(name)["scale"] == scale]
    if not fitting:
        raise UserError(f"no model of the package has scale {scale}", fix="Give weights: --model.")
    speeds: dict[str, float] = {}
    for name in sorted(fitting, key=lambda name: models.card(name)["measured"]["Set14"]["psnr_y"], reverse=True):
        speeds[name] = megapixels_per_second(load(name, device=device, precision=precision))
        if speeds[name] >= WANTED:
            return name, speeds[name]
    quickest = max(speeds, key=speeds.__getitem__)
    return quickest, speeds[quickest]


def megapixels_per_second(upscaler: Upscaler) -> float:
    """Output that a model makes of a small image, the better of two times after a first one."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        upscaler.upscale(image)  # which ends on the CPU, so the device is done
        seconds.append(time.perf_counter() - begun)
    return (SIDE * upscaler.scale) ** 2 / 1e6 / min(seconds[1:])
