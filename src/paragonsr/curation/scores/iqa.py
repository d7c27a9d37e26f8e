"""No-reference quality metrics of the package pyiqa."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from paragonsr.errors import UserError

METRICS = {
    "arniqa": "ARNIQA (Agnolucci et al. 2024), 0 .. 1, higher is better",
    "brisque": "BRISQUE (Mittal et al. 2012), about 0 .. 100, lower is better",
    "nima": "NIMA (Talebi and Milanfar 2018), mean opinion 1 .. 10, higher is better",
}
"""Name in pyiqa -> description."""


def open_metric(name: str) -> Callable[[NDArray[np.uint8]], float]:
    """Load a metric; pyiqa downloads its weights on first use.

    Args:
        name: one of METRICS.

    Returns:
        h x w x 3 uint8 RGB -> score.

    Raises:
        UserError: pyiqa is not installed, or the weights cannot be downloaded.
    """
    try:
        import pyiqa
    except ImportError as error:
        raise UserError(f"{name} needs the package pyiqa", where="also", fix="pip install 'paragonsr[iqa]'") from error
    import torch

    from paragonsr.devices import best_device

    device = best_device()
    try:
        metric = pyiqa.create_metric(name, device=device)
    except OSError as error:
        raise UserError(f"the weights of {name} could not be downloaded: {error}", where="also") from error

    @torch.inference_mode()
    def score(image: NDArray[np.uint8]) -> float:
        pixels = torch.from_numpy(np.array(image)).to(device)
        return float(metric(pixels.permute(2, 0, 1)[None] / 255))

    return score
