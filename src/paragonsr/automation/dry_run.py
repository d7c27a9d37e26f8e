"""An automation that is only listened to."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from paragonsr.automation.protocol import Automation, Decision, Observation


class DryRun:
    """Marks every decision of an automation as not to be carried out; the journal has them all the same.

    Args:
        automation: continues as if its decisions were applied.
    """

    def __init__(self, automation: Automation) -> None:
        self.name, self.watches = automation.name, automation.watches
        self.may_change = f"nothing (dry run; else {automation.may_change})"
        self._automation = automation

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """What the automation would change."""
        return [replace(decision, dry_run=True) for decision in self._automation.observe(observation)]

    def state_dict(self) -> dict[str, Any]:
        """State of the automation itself."""
        return self._automation.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._automation.load_state_dict(state)
