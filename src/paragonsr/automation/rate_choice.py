"""Choice of the optimiser and the base learning rate from trials; what is configured may only be compared with them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paragonsr.automation.protocol import Decision, Measurements, Observation

TRIED = "learning rates"
AS_GOOD = 0.005
"""Relative difference from the lowest loss that a trial cannot resolve (measured, see docs/automations.md)."""


@dataclass(frozen=True)
class Choice:
    """Outcome of the trials."""

    optimiser: str | None
    """Type of the chosen optimiser; None if only rates were compared."""
    lr: float


def trial_name(rate: float, optimiser: str | None = None) -> str:
    """Name of a trial in the measurements: "0.001", or "SOAP 0.006" if optimisers are compared."""
    return f"{rate!r}" if optimiser is None else f"{optimiser} {rate!r}"


class RateChoice:
    """Chooses the optimiser whose short annealed trials reached the lowest loss, and the largest of its best rates.

    A trial has dozens of steps and the run thousands, so trials favour smaller rates than the run does: a smaller rate
    gains faster at first, a larger one over the whole run. Rates within AS_GOOD of the best therefore count as equal,
    and the largest of them is chosen. A rate whose trial diverged is never chosen. The configured optimiser is replaced
    only by one that is better by more than AS_GOOD.

    Args:
        usual: rate to use if no trial was possible, or if all diverged.
        written: rate set by the user that is kept, and was also tried; None if the rate is to be chosen. An alternative
            is journalled as a decision that is not applied, if the written rate is not within AS_GOOD of the best.
        optimiser: type of the configured optimiser if optimisers are compared, else None.
    """

    name = "learning_rate_choice"
    watches = "the loss that each rate reaches in a short trial before the run"
    may_change = "lr"

    def __init__(self, usual: float, written: float | None = None, optimiser: str | None = None) -> None:
        self._usual, self._written, self._optimiser = usual, written, optimiser
        if optimiser is not None:
            self.may_change = "optimiser, lr"
        elif written is not None:
            self.may_change = f"nothing: keeps the configured {written:g}"

    def choose(self, tried: Mapping[str, float]) -> Choice:
        """Choice that follows from the trials.

        Args:
            tried: `trial_name` -> mean loss at the end of the trial, infinite or NaN if it diverged.
        """
        losses = _by_optimiser(tried)
        own = losses.get(self._optimiser, {})
        others = {name: min(rates.values()) for name, rates in losses.items() if name != self._optimiser}
        better = min(others, key=lambda name: others[name], default=None)
        if better is not None and others[better] < (1 - AS_GOOD) * min(own.values(), default=math.inf):
            return Choice(better, _best(losses[better]))
        rate = self._usual if self._written is None else self._written
        return Choice(self._optimiser, _best(own) if own and self._written is None else rate)

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Decide when the trials are done."""
        if not isinstance(observation, Measurements) or observation.kind != TRIED:
            return ()
        tried = dict(observation.values)
        choice = self.choose(tried)
        if self._optimiser is None and self._written is not None:
            return self._compared(self._written, tried)
        decisions = []
        if choice.optimiser != self._optimiser and choice.optimiser is not None:
            reason = f"lower loss than {self._optimiser} by more than {AS_GOOD:.1%} in trials ({_shown(tried)})"
            decisions.append(Decision(self.name, "optimiser", choice.optimiser, reason, tried))
        elif self._written is not None:
            return ()
        return [*decisions, Decision(self.name, "lr", choice.lr, self._reason(tried), tried)]

    def _reason(self, tried: Mapping[str, float]) -> str:
        if not tried:
            return f"the run is too short for trials: using {self._usual:g}"
        if not any(map(math.isfinite, tried.values())):
            return f"no learning rate stayed finite in its trial: using {self._usual:g}"
        return f"the largest rate within {AS_GOOD:.1%} of the lowest loss in trials ({_shown(tried)})"

    def _compared(self, written: float, tried: Mapping[str, float]) -> Sequence[Decision]:
        """Report the rate that did better than the configured one, if any."""
        losses = _by_optimiser(tried).get(None, {})
        if not losses or losses.get(written, math.inf) <= (1 + AS_GOOD) * min(losses.values()):
            return ()
        reason = (
            f"keeping the configured {written:g}, but another did better in the trials ({_shown(tried)}): "
            "see base_rate: choose"
        )
        return (Decision(self.name, "lr", _best(losses), reason, dict(tried), dry_run=True),)

    def state_dict(self) -> dict[str, Any]:
        """Empty: the choice is made only once."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""


def _by_optimiser(tried: Mapping[str, float]) -> dict[str | None, dict[float, float]]:
    """Optimiser -> rate -> loss, of the trials that stayed finite."""
    losses: dict[str | None, dict[float, float]] = {}
    for name, loss in tried.items():
        optimiser, _, rate = name.rpartition(" ")
        if math.isfinite(loss):
            losses.setdefault(optimiser or None, {})[float(rate)] = loss
    return losses


def _best(losses: Mapping[float, float]) -> float:
    lowest = min(losses.values())
    return max(rate for rate, loss in losses.items() if loss <= (1 + AS_GOOD) * lowest)


def _shown(tried: Mapping[str, float]) -> str:
    shown = []
    for name, loss in tried.items():
        optimiser, space, rate = name.rpartition(" ")
        shown.append(f"{optimiser}{space}{float(rate):g}: {loss:.5f}")
    return ", ".join(shown)
