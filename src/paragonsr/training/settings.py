"""The settings that may change during a run, and the only code that changes them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from paragonsr.automation.journal import Entry, Journal
from paragonsr.automation.protocol import Decision


@dataclass(frozen=True)
class Settings:
    """What a training step is done with."""

    batch_size: int
    """Samples per optimisation step, over all processes."""
    micro_batch: int
    """Most samples that one process puts through the network at once."""
    grad_clip: float | None
    """Where the gradient's norm is clipped."""
    lr_factors: Mapping[str, float] = field(default_factory=dict)
    """Owner -> what it multiplies the scheduled rate by."""
    loss_factors: Mapping[str, float] = field(default_factory=dict)
    """Loss label -> what its weight is multiplied by."""
    stop: str = ""
    """Why training ends now; empty while it goes on."""

    @property
    def lr_factor(self) -> float:
        """Product of all owners' factors."""
        product = 1.0
        for factor in self.lr_factors.values():
            product *= factor
        return product


def _number(low: float, high: float) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        return "" if low <= value <= high else f"refused: {value:g} is outside {low:g} .. {high:g}"

    return check


class Controls:
    """Carries decisions out: checks bounds, refuses the impossible, writes each to the journal, tells it once.

    Args:
        settings: what the run begins with.
        journal: where decisions are written.
        roll_back: takes the training state back to its last good snapshot.
        announce: is told every entry once (console, TensorBoard).
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        roll_back: Callable[[], None],
        announce: Callable[[Entry], None],
    ) -> None:
        self.settings = settings
        self._journal, self._roll_back, self._announce = journal, roll_back, announce
        largest_batch = 1 << 20
        self._checks: dict[str, Callable[[Any], str]] = {
            "lr_factor": _number(0.0, 16.0),
            "loss_weight": _number(0.0, 1e6),
            "micro_batch": _number(1, largest_batch),
            "batch_size": _number(1, largest_batch),
            "grad_clip": _number(1e-12, 1e12),
            "rollback": lambda value: "" if value is True else "refused: a rollback has no other value than true",
            "stop": lambda value: "" if value is True else "refused: a stop has no other value than true",
        }

    def apply(self, decisions: Iterable[Decision], iteration: int) -> Settings:
        """Carry decisions out, in their order.

        Returns:
            the settings in force from the next step on.
        """
        for decision in decisions:
            setting, _, owner = decision.setting.partition("/")
            check = self._checks.get(setting)
            refusal = check(decision.value) if check else f"refused: there is no setting {decision.setting!r}"
            before = self._present(setting, owner)
            outcome = refusal or ("dry run" if decision.dry_run else "applied")
            if outcome == "applied":
                self._change(setting, owner, decision)
            entry = Entry(iteration, decision, before, outcome)
            self._journal.write(entry)
            self._announce(entry)
        return self.settings

    def _present(self, setting: str, owner: str) -> float | int | bool | None:
        if setting == "lr_factor":
            return self.settings.lr_factors.get(owner, 1.0)
        if setting == "loss_weight":
            return self.settings.loss_factors.get(owner, 1.0)
        if setting in ("rollback", "stop"):
            return False
        return getattr(self.settings, setting, None)

    def _change(self, setting: str, owner: str, decision: Decision) -> None:
        value: Any = decision.value
        if setting == "rollback":
            self._roll_back()
        elif setting == "stop":
            self.settings = replace(self.settings, stop=f"{decision.automation}: {decision.reason}")
        elif setting == "lr_factor":
            self.settings = replace(self.settings, lr_factors={**self.settings.lr_factors, owner: value})
        elif setting == "loss_weight":
            self.settings = replace(self.settings, loss_factors={**self.settings.loss_factors, owner: value})
        else:
            self.settings = replace(self.settings, **{setting: value})

    def state_dict(self) -> dict[str, Any]:
        """The settings in force."""
        return asdict(self.settings)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the settings that were in force; a stop is over once the run is started again."""
        self.settings = Settings(**state | {"stop": ""})
