"""Optional scores by networks, opened by name because they need weights or another package."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paragonsr.curation.scores.ic9600 import open_ic9600
from paragonsr.curation.scores.iqa import METRICS, open_metric
from paragonsr.errors import UserError

NAMES = ("ic9600", *METRICS)


def open_scorer(name: str, weights: Path | None) -> Callable[[NDArray[np.uint8]], float]:
    """Load a scorer.

    Args:
        name: `ic9600` (complexity by a network, 0 .. 1) or a metric of pyiqa: `arniqa`, `brisque`, `nima`.
        weights: weights file of ic9600; None for the others, whose weights pyiqa downloads.

    Returns:
        h x w x 3 uint8 RGB -> score. It runs on the GPU, if there is one.

    Raises:
        UserError: the score is unknown; weights are missing, not accepted, or do not fit; pyiqa is not installed.
    """
    if name == "ic9600":
        return open_ic9600(weights)
    if name not in METRICS:
        raise UserError(f"unknown score {name!r}", where="also", fix=f"Choose from {', '.join(NAMES)}.")
    if weights is not None:
        raise UserError(f"{name} does not accept a weights file: pyiqa downloads its own", where=str(weights))
    return open_metric(name)
