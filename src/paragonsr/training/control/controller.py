"""The settings that may change during a run, and the only code that changes them."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from paragonsr.automation.journal import DecisionJournal, Entry
from paragonsr.automation.protocol import Decay, Decision
from paragonsr.config import Config

Event = Literal["rollback", "first_decay", "probe", "entry"]
"""What a callback of the controller can be told of."""


@dataclass(frozen=True)
class Pace:
    """How the position in the plan follows from the iteration: a straight line through one point."""

    iteration: int = 0
    position: float = 0.0
    rate: float = 1.0
    """Planned iterations per iteration made."""

    def position_at(self, iteration: int) -> float:
        """Position after that many iterations."""
        return self.position + (iteration - self.iteration) * self.rate


@dataclass(frozen=True)
class Hyperparameters:
    """What a training step is done with."""

    batch_size: int
    """Samples per optimisation step, over all processes."""
    micro_batch: int
    """Most samples that one process puts through the network at once."""
    grad_clip: float | None
    """Where the gradient's norm is clipped."""
    lr: float = 0.0
    """Base learning rate."""
    total_iter: int = 0
    """Iterations after which the run ends."""
    pace: Pace = Pace()
    lr_factors: Mapping[str, float | Decay] = field(default_factory=dict)
    """Owner -> what it multiplies the scheduled rate by."""
    loss_factors: Mapping[str, float] = field(default_factory=dict)
    """Loss label -> what its weight is multiplied by."""
    learner_factors: Mapping[str, float] = field(default_factory=dict)
    """Label of a learned loss -> what the learning rate of its own network is multiplied by."""
    stop: str = ""
    """Why training ends now; empty while it continues."""
    failed: bool = False
    """Whether it ends because it cannot succeed."""

    @classmethod
    def of(cls, config: Config, world: int) -> "Hyperparameters":
        """What a run of a configuration begins with, in `world` processes."""
        options = config.train
        return cls(
            config.batch * world,
            config.micro_batch,
            options.grad_clip_norm if options.grad_clip else None,
            lr=options.optim_g.first_lr,
            total_iter=options.total_iter,
        )

    def lr_factor(self, position: float) -> float:
        """Product of all owners' factors."""
        factors = self.lr_factors.values()
        return math.prod(f.factor(position) if isinstance(f, Decay) else f for f in factors)


def _number(low: float, high: float) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        return "" if low <= value <= high else f"refused: {value:g} is outside {low:g} .. {high:g}"

    return check


def _lr_factor(value: Any) -> str:
    if not isinstance(value, Decay):
        return _number(0.0, 16.0)(value)
    if value.start < value.end and 0 < value.floor < 1:
        return ""
    return f"refused: a decay from {value.start:g} to {value.end:g} down to {value.floor:g} is not valid"


class Controller:
    """Carries decisions out: checks bounds, refuses the impossible, writes each to the journal, tells it once.

    Whoever has to act when a setting changes is told by a callback: see `on`.

    Args:
        settings: what the run begins with.
        journal: where decisions are written.
        reference_batch: samples of one iteration; a batch is a multiple of it.
    """

    def __init__(self, settings: Hyperparameters, journal: DecisionJournal, reference_batch: int) -> None:
        self.settings = settings
        self._journal, self._reference_batch = journal, reference_batch
        self._planned_total = settings.total_iter
        self._callbacks: dict[Event, list[Callable[[Any], None]]] = {}
        self._checks: dict[str, Callable[[Any], str]] = {
            "lr": _number(1e-12, 1e3),
            "lr_factor": _lr_factor,
            "learner_lr": _number(0.0, 16.0),
            "loss_weight": _number(0.0, 1e6),
            "micro_batch": _number(1, 1 << 20),
            "batch_size": self._batch_size,
            "grad_clip": _number(1e-12, 1e12),
            "total_iter": _number(1, 1 << 40),
            "rollback": lambda value: "" if value is True else "refused: the only value of rollback is true",
            "stop": lambda value: "" if value is True else "refused: the only value of stop is true",
            "give_up": lambda value: "" if value is True else "refused: the only value of give_up is true",
        }

    def on(self, event: Event, callback: Callable[[Any], None]) -> None:
        """Call `callback` at each event of a kind.

        Args:
            event: `rollback` (a decision to return to the last good weights), `first_decay` (before the first decay in
                force), `probe` (a size that may end the process is tried from now on), `entry` (a decision was made).
            callback: is given the journal entry.
        """
        self._callbacks.setdefault(event, []).append(callback)

    def _tell(self, event: Event, entry: Entry) -> None:
        for callback in self._callbacks.get(event, ()):
            callback(entry)

    def apply(self, decisions: Iterable[Decision], iteration: int) -> Hyperparameters:
        """Carry decisions out, in their order.

        Returns:
            the settings in force from the next step on.
        """
        for decision in decisions:
            setting, _, owner = decision.setting.partition("/")
            check = self._checks.get(setting)
            refusal = check(decision.value) if check else f"refused: unknown setting {decision.setting!r}"
            outcome = refusal or ("dry run" if decision.dry_run else "applied")
            entry = Entry(iteration, decision, self._present(setting, owner), outcome)
            if outcome == "applied":
                self._change(setting, owner, entry)
            self._journal.write(entry)
            self._tell("entry", entry)
            if decision.probe and outcome == "applied":
                self._tell("probe", entry)
        return self.settings

    def _batch_size(self, value: Any) -> str:
        if value < 1 or value % self._reference_batch:
            return f"refused: {value:g} is not a multiple of the configured batch {self._reference_batch}"
        return ""

    def _present(self, setting: str, owner: str) -> float | int | bool | Decay | None:
        if setting == "lr_factor":
            return self.settings.lr_factors.get(owner, 1.0)
        if setting == "loss_weight":
            return self.settings.loss_factors.get(owner, 1.0)
        if setting == "learner_lr":
            return self.settings.learner_factors.get(owner, 1.0)
        if setting in ("rollback", "stop", "give_up"):
            return False
        return getattr(self.settings, setting, None)

    def _change(self, setting: str, owner: str, entry: Entry) -> None:
        value: Any = entry.decision.value
        before = self.settings
        if setting == "rollback":
            self._tell("rollback", entry)
        elif setting in ("stop", "give_up"):
            reason = f"{entry.decision.automation}: {entry.decision.reason}"
            self.settings = replace(before, stop=reason, failed=setting == "give_up")
        elif setting == "lr_factor":
            if isinstance(value, Decay) and not any(isinstance(f, Decay) for f in before.lr_factors.values()):
                self._tell("first_decay", entry)
            self.settings = replace(before, lr_factors={**before.lr_factors, owner: value})
        elif setting == "loss_weight":
            self.settings = replace(before, loss_factors={**before.loss_factors, owner: value})
        elif setting == "learner_lr":
            self.settings = replace(before, learner_factors={**before.learner_factors, owner: value})
        elif setting == "total_iter":
            self.settings = replace(before, total_iter=value, pace=self._pace_to(value, entry.iteration))
        else:
            self.settings = replace(before, **{setting: value})

    def _pace_to(self, total: int, iteration: int) -> Pace:
        """What remains of the plan, stretched or shortened to end with the new total."""
        position = self.settings.pace.position_at(iteration)
        remaining = max(total - iteration, 1)
        return Pace(iteration, position, max(self._planned_total - position, 0.0) / remaining)

    def state_dict(self) -> dict[str, Any]:
        """The settings in force, and the total that the plan was made with."""
        return asdict(self.settings) | {"planned_total": self._planned_total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the settings that were in force; a stop is over once the run is started again.

        A run that was given another total by its owner continues by the schedule of that total; its decays are over.
        """
        state = dict(state)
        if state.pop("planned_total") != self._planned_total:
            state |= {"total_iter": self._planned_total, "pace": asdict(Pace())}
            state["lr_factors"] = {o: f for o, f in state["lr_factors"].items() if not isinstance(f, dict)}
        factors = {o: Decay(**f) if isinstance(f, dict) else f for o, f in state["lr_factors"].items()}
        continued = {"stop": "", "failed": False, "pace": Pace(**state["pace"]), "lr_factors": factors}
        self.settings = Hyperparameters(**state | continued)
