"""`lr: auto`: which of the rates that were tried before the run is taken."""

from collections.abc import Sequence
from typing import Any

from paragonsr.automation.protocol import Decision, Facts, Observation

TRIED = "learning rates"


class RateChoice:
    """Takes the rate whose short annealed trial ended with the lowest loss.

    Trials see hundreds of steps where the run has thousands. A rate that is too high for them is so for the run; one
    that is best for them is at or a little above the run's best, and PSNR is flat there (docs/evidence.md), so the best
    is taken as it is.
    """

    name = "learning_rate_choice"
    watches = "the loss that each rate reaches in a short trial before the run"
    may_change = "lr"

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Choose when the trials have been made."""
        if not isinstance(observation, Facts) or observation.kind != TRIED:
            return ()
        losses = dict(observation.figures)
        best = min(losses, key=losses.__getitem__)
        shown = ", ".join(f"{float(rate):g}: {loss:.5f}" for rate, loss in losses.items())
        return (Decision(self.name, "lr", float(best), f"lowest loss of the rates tried ({shown})", losses),)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: it chooses once."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
