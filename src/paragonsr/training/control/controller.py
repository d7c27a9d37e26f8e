"""Settings that may change during a run, and the only code that changes them."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from paragonsr.automation.journal import DecisionJournal, Entry
from paragonsr.automation.protocol import Decay, Decision, SettingValue
from paragonsr.config import Config

Event = Literal["rollback", "first_decay", "probe", "entry"]
"""Event that a callback of the controller can subscribe to."""


@dataclass(frozen=True)
class Pace:
    """Position in the plan as a linear function of the iteration: a straight line through one point."""

    iteration: int = 0
    position: float = 0.0
    rate: float = 1.0
    """Planned iterations per iteration made."""

    def position_at(self, iteration: int) -> float:
        """Position after `iteration` iterations."""
        return self.position + (iteration - self.iteration) * self.rate


@dataclass(frozen=True)
class Hyperparameters:
    """Settings of a training step."""

    batch_size: int
    """Samples per optimisation step, over all processes."""
    micro_batch: int
    """Maximum number of samples that one process passes through the network at once."""
    grad_clip: float | None
    """Maximum gradient norm; None does not clip."""
    optimiser: str = ""
    """Type of the optimiser."""
    lr: float = 0.0
    """Base learning rate."""
    num_threads: int | None = None
    """Number of CPU threads that was chosen; None if it was not."""
    total_iter: int = 0
    """Iterations after which the run ends."""
    pace: Pace = Pace()
    lr_factors: Mapping[str, float | Decay] = field(default_factory=dict)
    """Owner -> its factor on the scheduled learning rate."""
    loss_factors: Mapping[str, float] = field(default_factory=dict)
    """Loss label -> factor on its weight."""
    learner_factors: Mapping[str, float] = field(default_factory=dict)
    """Label of a learned loss -> factor on the learning rate of its own network."""
    metric_floors: Mapping[str, float] = field(default_factory=dict)
    """Name of a metric -> value on the first validation set below which weights are not kept as the best."""
    stop: str = ""
    """Why training ends now; empty while it continues."""
    failed: bool = False
    """Whether training ends because it cannot succeed."""

    @classmethod
    def of(cls, config: Config, world: int) -> "Hyperparameters":
        """Initial settings of a run in `world` processes."""
        options = config.train
        return cls(
            config.batch * world,
            config.micro_batch,
            options.grad_clip_norm if options.grad_clip else None,
            optimiser=options.optim_g.type,
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
    """Carries out decisions: checks bounds, refuses invalid ones, writes each to the journal and reports it once.

    Code that has to act when a setting changes registers a callback: see `on`.

    Args:
        settings: initial settings of the run.
        journal: where decisions are written.
        reference_batch: samples of one iteration; a batch is a multiple of it.
    """

    def __init__(self, settings: Hyperparameters, journal: DecisionJournal, reference_batch: int) -> None:
        self.settings = settings
        self._journal, self._reference_batch = journal, reference_batch
        self._planned_total = settings.total_iter
        self._callbacks: dict[Event, list[Callable[[Any], None]]] = {}
        self._checks: dict[str, Callable[[Any], str]] = {
            "optimiser": lambda value: "" if isinstance(value, str) else "refused: not the name of an optimiser",
            "degradation": lambda value: "" if isinstance(value, str) else "refused: not a description",
            "lr": _number(1e-12, 1e3),
            "num_threads": _number(1, 1 << 12),
            "lr_factor": _lr_factor,
            "learner_lr": _number(0.0, 16.0),
            "loss_weight": _number(0.0, 1e6),
            "metric_floor": _number(-1e6, 1e6),
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
            event: `rollback` (return to the last good weights), `first_decay` (before the first decay
                takes effect), `probe` (a size that may kill the process is tried from now on), `entry` (a decision was
                made).
            callback: receives the journal entry.
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

    def _present(self, setting: str, owner: str) -> SettingValue | None:
        if setting == "lr_factor":
            return self.settings.lr_factors.get(owner, 1.0)
        if setting == "loss_weight":
            return self.settings.loss_factors.get(owner, 1.0)
        if setting == "learner_lr":
            return self.settings.learner_factors.get(owner, 1.0)
        if setting == "metric_floor":
            return self.settings.metric_floors.get(owner)
        if setting in ("rollback", "stop", "give_up"):
            return False
        return getattr(self.settings, setting, None)

    def _change(self, setting: str, owner: str, entry: Entry) -> None:
        value: Any = entry.decision.value
        before = self.settings
        if setting == "degradation":
            return  # the data sets were built with it
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
        elif setting == "metric_floor":
            self.settings = replace(before, metric_floors={**before.metric_floors, owner: value})
        elif setting == "total_iter":
            self.settings = replace(before, total_iter=value, pace=self._pace_to(value, entry.iteration))
        else:
            self.settings = replace(before, **{setting: value})

    def _pace_to(self, total: int, iteration: int) -> Pace:
        """Pace that stretches or shortens the rest of the plan to end at the new total."""
        position = self.settings.pace.position_at(iteration)
        remaining = max(total - iteration, 1)
        return Pace(iteration, position, max(self._planned_total - position, 0.0) / remaining)

    def state_dict(self) -> dict[str, Any]:
        """Current settings, and the total that the plan was made for."""
        return asdict(self.settings) | {"planned_total": self._planned_total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the settings; a stop does not survive a restart.

        If the user has changed the total, the run follows the schedule of the new total, and its decays are dropped.
        """
        state = dict(state)
        if state.pop("planned_total") != self._planned_total:
            state |= {"total_iter": self._planned_total, "pace": asdict(Pace())}
            state["lr_factors"] = {o: f for o, f in state["lr_factors"].items() if not isinstance(f, dict)}
        factors = {o: Decay(**f) if isinstance(f, dict) else f for o, f in state["lr_factors"].items()}
        continued = {"stop": "", "failed": False, "pace": Pace(**state["pace"]), "lr_factors": factors}
        self.settings = Hyperparameters(**state | continued)
