"""Replay of a run's decisions from its recorded observations."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paragonsr.automation.journal import DecisionJournal, Entry
from paragonsr.automation.protocol import Automation, Measurements, Observation, Steps
from paragonsr.config import Config
from paragonsr.errors import UserError
from paragonsr.run_description import read_description
from paragonsr.training.control.automations import make_automations, run_context
from paragonsr.training.control.controller import Controller, Hyperparameters
from paragonsr.training.reporting.record import read_observations

Line = dict[str, Any]
"""One line of journal.jsonl."""


def replay(folder: Path) -> "Replay":
    """Feed a run's recorded observations to fresh automations, and compare their decisions with its journal.

    Args:
        folder: the run's folder.

    Raises:
        UserError: not the folder of a run, a run of another version, or a run whose record begins in the middle.
    """
    try:
        description = read_description(folder)
        journal = [json.loads(line) for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
        spans = [*description.get("earlier", []), {"until": math.inf, "config": description["config"]}]
        sessions = [_Session(span["until"], Config.model_validate(span["config"])) for span in spans]
        facts = _Facts(
            description["parameters"], description["environment"]["world"], description.get("smallest_micro_batch", 1)
        )
        observations = list(read_observations(folder))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"cannot replay this run ({error})", where=str(folder), fix="Give experiments/<name>."
        ) from None
    _require_beginning(observations, folder)
    return Replay(list(_again(sessions, facts, observations)), journal)


class Replay:
    """Replayed decisions, compared with those of the journal.

    Args:
        again: the replayed lines.
        journal: the lines of the journal.
    """

    def __init__(self, again: Sequence[Line], journal: Sequence[Line]) -> None:
        self.again, self.journal = again, journal

    def differences(self) -> Iterator[str]:
        """One sentence for each line that differs."""
        for number in range(max(len(self.again), len(self.journal))):
            now = self.again[number] if number < len(self.again) else None
            then = self.journal[number] if number < len(self.journal) else None
            # Compared as text, where NaN equals NaN.
            if json.dumps(now, sort_keys=True) != json.dumps(then, sort_keys=True):
                yield f"decision {number + 1}: the journal has {_shown(then)}, the replay {_shown(now)}"


@dataclass(frozen=True)
class _Facts:
    """What run.json says about the network and the processes."""

    parameters: int
    world: int
    smallest_micro_batch: int


@dataclass(frozen=True)
class _Session:
    """Part of a run that was trained with one configuration."""

    until: float
    """Iteration at which the next configuration took over."""
    config: Config

    def is_over(self, observation: Observation) -> bool:
        """Whether an observation belongs to a later session. Measurements are made at the beginning of a session."""
        after = observation.iteration - self.until
        return after > 0 or (after == 0 and isinstance(observation, Measurements))


def _again(sessions: Sequence[_Session], facts: _Facts, observations: Iterable[Observation]) -> Iterator[Line]:
    """Replayed journal lines."""
    current, *later = sessions
    entries: list[Entry] = []
    automations, controller = _parts(current.config, facts, entries)
    for observation in observations:
        while current.is_over(observation):
            current, *later = later
            earlier = {automation.name: automation.state_dict() for automation in automations}
            state = controller.state_dict()
            automations, controller = _parts(current.config, facts, entries)
            controller.load_state_dict(json.loads(json.dumps(state)))
            for automation in automations:
                if automation.name in earlier:
                    automation.load_state_dict(json.loads(json.dumps(earlier[automation.name])))
        for automation in automations:
            controller.apply(automation.observe(observation), observation.iteration)
    # Through JSON like the journal itself, so that tuples become lists.
    return (json.loads(json.dumps(entry.as_dict())) for entry in entries)


def _parts(config: Config, facts: _Facts, entries: list[Entry]) -> tuple[Sequence[Automation], Controller]:
    """Automations in their initial state, and a controller that changes only the settings and collects each entry."""
    controller = Controller(
        Hyperparameters.of(config, facts.world),
        DecisionJournal(None),
        config.batch * facts.world,
    )
    controller.on("entry", entries.append)
    context = run_context(config, facts.parameters, facts.world, facts.smallest_micro_batch)
    return make_automations(config, context), controller


def _require_beginning(observations: Sequence[Observation], folder: Path) -> None:
    first = next((o for o in observations if isinstance(o, Steps)), None)
    if first is not None and first.values["position"][0] > 0:
        raise UserError(
            f"the record begins at iteration {first.values['position'][0]:.0f}, in the middle of another run",
            where=str(folder),
            fix="Replay the run that path.resume_state came from.",
        )


def _shown(line: Line | None) -> str:
    if line is None:
        return "none"
    change = f"{line['automation']}: {line['setting']} from {line['from']} to {line['to']}"
    rest = f"{line['outcome']}; {line['reason']}; {line['values']}"
    return f"{change} at iteration {line['iteration']} ({rest})"
