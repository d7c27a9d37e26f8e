"""Gradient clipping that knows what is usual in this run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from paragonsr.automation.context import RunContext
from paragonsr.automation.options import GradientClippingOptions
from paragonsr.automation.protocol import Decision, Observation, Steps

WORTH_A_CHANGE = 0.5
"""Relative change under which the threshold stays."""
HEADROOM = 3.0
"""Times the percentile. In seven healthy runs of Nano 5% of the steps were above the percentile, as they must be, 0.02
to 0.12% above twice and none above three times it. Clipping those 5% is clipping the textured patches."""
LARGEST_RISE = 2.0
"""Factor by which the threshold may rise at once: a burst of large gradients must not lift it to its own height."""


class GradientClipping:
    """Clips at three times a percentile of the recent gradient norms, as measured before clipping.

    No step is clipped while nothing unusual happens, early and late in training alike. Norms of skipped steps, which
    are not finite, do not count.

    Args:
        options: percentile and length of the history.
    """

    name = "adaptive_gradient_clipping"
    watches = "the norm of the gradient before clipping"
    may_change = "grad_clip"

    def __init__(self, options: GradientClippingOptions) -> None:
        self._percentile, self._size = options.percentile, options.gradient_history_size
        self.norms: list[float] = []
        self.threshold: float | None = None

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Look at the norms of a window, once the history is full."""
        if not isinstance(observation, Steps):
            return ()
        norms = observation.values["grad_norm"]
        self.norms = [*self.norms, *norms[np.isfinite(norms)].tolist()][-self._size :]
        if len(self.norms) < self._size:
            return ()
        wanted = HEADROOM * float(np.percentile(self.norms, self._percentile))
        if self.threshold is not None:
            wanted = min(wanted, LARGEST_RISE * self.threshold)
            if abs(wanted - self.threshold) < WORTH_A_CHANGE * self.threshold:
                return ()
        if wanted <= 0:
            return ()
        self.threshold = wanted
        values = {"median": float(np.median(self.norms)), "largest": max(self.norms)}
        reason = f"{HEADROOM:g} times percentile {self._percentile:g} of the last {self._size} gradient norms"
        return (Decision(self.name, "grad_clip", wanted, reason, values),)

    def state_dict(self) -> dict[str, Any]:
        """The history and the threshold in force."""
        return {"norms": self.norms, "threshold": self.threshold}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.norms, self.threshold = list(state["norms"]), state["threshold"]


def build(options: GradientClippingOptions, context: RunContext) -> GradientClipping:
    """The automation of a run."""
    return GradientClipping(options)
