"""Choice of the best learning rate from the trials before the run; a configured rate is only compared with it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from paragonsr.automation.protocol import Decision, Measurements, Observation

TRIED = "learning rates"
AS_GOOD = 0.005
"""Relative difference from the lowest loss that a trial cannot resolve (measured, see docs/automations.md)."""


class RateChoice:
    """Chooses the largest rate whose short annealed trial ended with about the lowest loss.

    A trial has dozens of steps and the run thousands, so trials favour smaller rates than the run does: a smaller rate
    gains faster at first, a larger one over the whole run. Rates within AS_GOOD of the best therefore count as equal,
    and the largest of them is chosen. A rate whose trial diverged is never chosen.

    A rate set by the user is kept. If it is not within AS_GOOD of the best, the alternative is journalled as a decision
    that is not applied.

    Args:
        usual: rate to use if no trial was possible, or if all diverged.
        written: rate set by the user, which was also tried; None with `lr: auto`.
    """

    name = "learning_rate_choice"
    watches = "the loss that each rate reaches in a short trial before the run"
    may_change = "lr"

    def __init__(self, usual: float, written: float | None = None) -> None:
        self._usual, self._written = usual, written
        if written is not None:
            self.may_change = f"nothing: keeps the configured {written:g}"

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Choose a rate when the trials are done."""
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
        """Report the rate that did better than the configured one, if any."""
        if not losses or losses.get(written, math.inf) <= (1 + AS_GOOD) * min(losses.values()):
            return ()
        reason = (
            f"keeping the configured {written:g}, but another did better in the trials ({_shown(tried)}): see lr: auto"
        )
        return (Decision(self.name, "lr", _best(losses), reason, dict(tried), dry_run=True),)

    def state_dict(self) -> dict[str, Any]:
        """Empty: the choice is made only once."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""


def _best(losses: dict[float, float]) -> float:
    lowest = min(losses.values())
    return max(rate for rate, loss in losses.items() if loss <= (1 + AS_GOOD) * lowest)


def _shown(tried: Mapping[str, float]) -> str:
    return ", ".join(f"{float(rate):g}: {loss:.5f}" for rate, loss in tried.items())
