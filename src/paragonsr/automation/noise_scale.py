"""The gradient-noise scale: up to which batch another sample still says something new."""

from typing import Any

import numpy as np

REMEMBERED = 64
"""Measurements that the estimate is a mean of; a single one is mostly noise."""
FEWEST_PAIRS = 16


class NoiseScale:
    """tr(Sigma) / |G|^2 from gradient norms at two batch sizes, McCandlish et al. 1812.06162, appendix A.1.

    With b samples E|g_b|^2 = |G|^2 + tr(Sigma) / b, so two sizes give both unknowns; each is averaged before the
    quotient is taken.
    """

    def __init__(self) -> None:
        self.measured: list[list[float]] = []
        """[tr(Sigma), |G|^2] of single steps."""

    def add(self, small: float, norm_small: float, big: float, norm_big: float) -> None:
        """Take in one step: batch sizes, small < big, and the norms of their gradients."""
        squared = (big * norm_big**2 - small * norm_small**2) / (big - small)
        variance = (norm_small**2 - norm_big**2) / (1 / small - 1 / big)
        self.measured = [*self.measured, [variance, squared]][-REMEMBERED:]

    @property
    def value(self) -> float | None:
        """The noise scale in samples; infinite where the mean gradient drowns; None while too little is known."""
        if len(self.measured) < FEWEST_PAIRS:
            return None
        variance, squared = np.mean(self.measured, axis=0)
        if squared <= 0:
            return float("inf")
        return max(float(variance / squared), 0.0)

    def state_dict(self) -> dict[str, Any]:
        """The remembered measurements."""
        return {"measured": self.measured}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.measured = [list(pair) for pair in state["measured"]]
