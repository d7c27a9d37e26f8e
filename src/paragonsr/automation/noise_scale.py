"""Gradient noise scale: the batch size up to which additional samples still improve the gradient."""

from typing import Any

import numpy as np

REMEMBERED = 64
"""Number of measurements to average; a single one is mostly noise."""
FEWEST_PAIRS = 16


class NoiseScale:
    """Estimate of tr(Sigma) / |G|^2 from gradient norms at two batch sizes, McCandlish et al. 1812.06162, appendix A.1.

    With b samples E|g_b|^2 = |G|^2 + tr(Sigma) / b, so two sizes give both unknowns; each is averaged before they are
    divided.
    """

    def __init__(self) -> None:
        self.measured: list[list[float]] = []
        """[tr(Sigma), |G|^2] of single steps."""

    def add(self, small: float, norm_small: float, big: float, norm_big: float) -> None:
        """Add one step: two batch sizes, small < big, and the norms of their gradients."""
        squared = (big * norm_big**2 - small * norm_small**2) / (big - small)
        variance = (norm_small**2 - norm_big**2) / (1 / small - 1 / big)
        self.measured = [*self.measured, [variance, squared]][-REMEMBERED:]

    @property
    def value(self) -> float | None:
        """Noise scale in samples; infinite if the mean gradient is lost in noise; None while too little is known."""
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
