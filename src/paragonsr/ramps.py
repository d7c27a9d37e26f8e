"""Shapes of everything that falls or rises between two values: learning rates, their factors, weights of losses."""

import math
from typing import Literal

Shape = Literal["cosine", "linear", "sqrt"]


def fall(shape: Shape, progress: float) -> float:
    """What is left at a share of the way: 1 at 0, 0 at 1.

    With p the progress: cosine (1 + cos(pi p)) / 2, linear 1 - p, sqrt 1 - sqrt(p) (2405.18392).
    """
    if shape == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return 1 - (math.sqrt(progress) if shape == "sqrt" else progress)
