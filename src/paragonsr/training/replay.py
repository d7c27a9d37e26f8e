"""Making a run's decisions again from what it observed."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from paragonsr.automation.protocol import Decision
from paragonsr.config import Config
from paragonsr.errors import UserError
from paragonsr.training.automations import Circumstances, make_automations
from paragonsr.training.record import read_observations


def replay(folder: Path) -> "Replay":
    """Feed a run's recorded observations to fresh automations, and hold their decisions against its journal.

    Args:
        folder: the run's folder.

    Raises:
        UserError: it is no folder of a run, or one of another version.
    """
    try:
        description = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        journal = [json.loads(line) for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
        config = Config.model_validate(description["config"])
        observations = read_observations(folder)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"this run cannot be replayed ({error})", where=str(folder), fix="give experiments/<name>"
        ) from None
    circumstances = Circumstances(description["parameters"], description["environment"]["world"])
    automations = make_automations(config, circumstances)
    made = []
    for observation in observations:
        for automation in automations:
            made += [(observation.iteration, decision) for decision in automation.observe(observation)]
    return Replay([_line(iteration, decision) for iteration, decision in made], [_comparable(e) for e in journal])


class Replay:
    """Decisions made again, beside those of the journal.

    Args:
        again: iteration, automation, setting, to, reason and figures of each decision made now.
        journal: the same of each entry.
    """

    def __init__(self, again: list[dict[str, Any]], journal: list[dict[str, Any]]) -> None:
        self.again, self.journal = again, journal

    def differences(self) -> Iterator[str]:
        """One sentence for each place where the two differ."""
        for number in range(max(len(self.again), len(self.journal))):
            now = self.again[number] if number < len(self.again) else None
            then = self.journal[number] if number < len(self.journal) else None
            if now != then:
                yield f"decision {number + 1}: the journal has {_shown(then)}, the replay {_shown(now)}"


def _line(iteration: int, decision: Decision) -> dict[str, Any]:
    made = asdict(decision)
    line = {"iteration": iteration, "automation": made["automation"], "setting": made["setting"], "to": made["value"]}
    # Through JSON, as the journal went: tuples become lists, not-a-number stays what it is.
    return json.loads(json.dumps(line | {"reason": made["reason"], "figures": made["figures"]}))


def _comparable(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("iteration", "automation", "setting", "to", "reason", "figures")}


def _shown(line: dict[str, Any] | None) -> str:
    if line is None:
        return "none"
    change = f"{line['automation']}: {line['setting']} to {line['to']} at iteration {line['iteration']}"
    return f"{change} ({line['reason']}; {line['figures']})"
