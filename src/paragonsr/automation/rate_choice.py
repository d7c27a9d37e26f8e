"""`lr: auto`: which of the rates that were tried before the run is taken."""

import math
from collections.abc import Sequence
from typing import Any

from paragonsr.automation.protocol import Decision, Facts, Observation

TRIED = "learning rates"
AS_GOOD = 0.005
"""Loss above the lowest one, relative, that a trial cannot tell from it (measured, see docs/automations.md)."""
USUAL = 1e-3
"""Taken where nothing could be tried, or nothing held."""


class RateChoice:
    """Takes the largest rate whose short annealed trial ended with about the lowest loss.

    A trial sees dozens of steps where the run has thousands, and prefers smaller rates than the run does: what the
    smaller one gains at once, the larger one gains over the run. So rates within AS_GOOD of the best count as equal,
    and the largest of them is taken. A rate whose trial came apart is never taken.
    """

    name = "learning_rate_choice"
    watches = "the loss that each rate reaches in a short trial before the run"
    may_change = "lr"

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Choose when the trials have been made."""
        if not isinstance(observation, Facts) or observation.kind != TRIED:
            return ()
        losses = {float(rate): loss for rate, loss in observation.figures.items() if math.isfinite(loss)}
        if not losses:
            tried = "the run is too short for trials" if not observation.figures else "no rate held in its trial"
            return (Decision(self.name, "lr", USUAL, f"{tried}: the usual one is taken", dict(observation.figures)),)
        best = min(losses.values())
        rate = max(rate for rate, loss in losses.items() if loss <= (1 + AS_GOOD) * best)
        shown = ", ".join(f"{float(tried):g}: {loss:.5f}" for tried, loss in observation.figures.items())
        reason = f"the largest rate within {AS_GOOD:.1%} of the lowest loss in trials ({shown})"
        return (Decision(self.name, "lr", rate, reason, dict(observation.figures)),)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: it chooses once."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
