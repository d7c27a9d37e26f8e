"""Which of the rates that were tried before the run is the best: `lr: auto` takes it, a written rate is held to it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from paragonsr.automation.protocol import Decision, Measurements, Observation

TRIED = "learning rates"
AS_GOOD = 0.005
"""Loss above the lowest one, relative, that a trial cannot tell from it (measured, see docs/automations.md)."""


class RateChoice:
    """Takes the largest rate whose short annealed trial ended with about the lowest loss.

    A trial sees dozens of steps where the run has thousands, and prefers smaller rates than the run does: what the
    smaller one gains at once, the larger one gains over the run. So rates within AS_GOOD of the best count as equal,
    and the largest of them is taken. A rate whose trial came apart is never taken.

    A rate that the user wrote stays. Where it is not within AS_GOOD of the best, the decision that would have been made
    is journalled, as one that is not carried out.

    Args:
        usual: the rate that is taken where nothing could be tried, or nothing held.
        written: the user's rate, which was among those tried; None with `lr: auto`.
    """

    name = "learning_rate_choice"
    watches = "the loss that each rate reaches in a short trial before the run"
    may_change = "lr"

    def __init__(self, usual: float, written: float | None = None) -> None:
        self._usual, self._written = usual, written
        if written is not None:
            self.may_change = f"nothing: keeps the written {written:g}"

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Choose when the trials have been made."""
        if not isinstance(observation, Measurements) or observation.kind != TRIED:
            return ()
        losses = {float(rate): loss for rate, loss in observation.values.items() if math.isfinite(loss)}
        if self._written is not None:
            return self._held_to(self._written, losses, observation.values)
        if not losses:
            tried = (
                "the run is too short for trials"
                if not observation.values
                else "no learning rate stayed finite in its trial"
            )
            return (Decision(self.name, "lr", self._usual, f"{tried}: using the default", dict(observation.values)),)
        reason = f"the largest rate within {AS_GOOD:.1%} of the lowest loss in trials ({_shown(observation.values)})"
        return (Decision(self.name, "lr", _best(losses), reason, dict(observation.values)),)

    def _held_to(self, written: float, losses: dict[float, float], tried: Mapping[str, float]) -> Sequence[Decision]:
        """Name the rate that did better than the written one, if any did."""
        if not losses or losses.get(written, math.inf) <= (1 + AS_GOOD) * min(losses.values()):
            return ()
        reason = (
            f"keeping the written {written:g}, though another did better in the trials ({_shown(tried)}): see lr: auto"
        )
        return (Decision(self.name, "lr", _best(losses), reason, dict(tried), dry_run=True),)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: it chooses once."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""


def _best(losses: dict[float, float]) -> float:
    lowest = min(losses.values())
    return max(rate for rate, loss in losses.items() if loss <= (1 + AS_GOOD) * lowest)


def _shown(tried: Mapping[str, float]) -> str:
    return ", ".join(f"{float(rate):g}: {loss:.5f}" for rate, loss in tried.items())
