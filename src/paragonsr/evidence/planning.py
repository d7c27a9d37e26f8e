"""Planning a comparison: budgets of seconds become iterations, once for all seeds."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paragonsr.config import Config
from paragonsr.config.rescaling import fitted, rescaling
from paragonsr.errors import UserError
from paragonsr.evidence.arms import Arm, said_once
from paragonsr.files import write_atomically
from paragonsr.training.engine.estimate import estimate

ROUNDS = 4
"""How often the speed of each arm is measured, the arms taking turns, when a budget of seconds is planned. The fastest
round counts: other processes can only slow an arm down."""
PLAN = "plan.json"


def planned(arms: Sequence[Arm], folder: Path, say: Callable[[str], None]) -> list[Arm]:
    """The arms with budgets of seconds turned into iterations, once for all seeds; kept in the folder's plan.json.

    Arms may be added to a comparison later; those that it has must be as they were.

    Raises:
        UserError: the folder holds another comparison.
    """
    wanted = json.loads(json.dumps({arm.name: arm.keys() for arm in arms}))
    file = folder / PLAN
    plan = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"arms": {}, "totals": {}}
    _check_unchanged(plan["arms"], wanted, folder)
    added = [arm for arm in arms if arm.name not in plan["arms"]]
    if added:
        totals = _totals(arms, plan["totals"]) | plan["totals"]
        for line in said_once({arm.name: _rescaled(arm, totals[arm.name]) if arm in added else [] for arm in arms}):
            say(line)
        plan = {"arms": wanted, "totals": totals}
        write_atomically(file, json.dumps(plan, indent=2).encode())
    return [Arm(arm.name, _in_iterations(arm.config, plan["totals"][arm.name])) for arm in arms]


def _check_unchanged(earlier: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """See that the arms that were planned earlier are still there and the same."""
    differing = []
    for arm, keys in earlier.items():
        if arm not in now:
            differing.append(f"the arm {arm!r} is missing")
            continue
        names = [name for name in sorted(keys.keys() | now[arm].keys()) if keys.get(name) != now[arm].get(name)]
        differing += [f"{arm}: {name} was {keys.get(name)!r}, is {now[arm].get(name)!r}" for name in names]
    if differing:
        raise UserError(
            "this folder holds a comparison of other arms:\n    " + "\n    ".join(dict.fromkeys(differing)),
            where=str(folder),
            fix="Give all of them again as they were (arms may be added), or another --out.",
        )


def _totals(arms: Sequence[Arm], plan: Mapping[str, int]) -> dict[str, int]:
    """Iterations of each arm: as configured, or what its seconds are enough for."""
    totals = {arm.name: arm.config.train.total_iter for arm in arms}
    timed = [arm for arm in arms if _seconds(arm) is not None]
    known = {_step(arm): plan[arm.name] for arm in timed if arm.name in plan}
    new = {_step(arm): arm for arm in timed if _step(arm) not in known}
    seconds = dict.fromkeys(new, math.inf)
    for _ in range(ROUNDS):
        for step, arm in new.items():
            seconds[step] = min(seconds[step], estimate(arm.config).seconds)
    known |= {step: max(1, int((_seconds(arm) or 0) / seconds[step])) for step, arm in new.items()}
    return totals | {arm.name: known[_step(arm)] for arm in timed}


def _rescaled(arm: Arm, total: int) -> list[str]:
    """What was measured and planned for a budget of seconds; nothing for other budgets."""
    seconds = _seconds(arm)
    if seconds is None:
        return []
    plan = rescaling(arm.config, fitted(arm.config, total))
    return [f"{seconds / total * 1e3:.1f} ms per step measured; {plan}"]


def _seconds(arm: Arm) -> float | None:
    """The budget of an arm; None where it is not one of seconds."""
    budget = arm.config.train.budget
    return budget.amount if budget is not None and budget.unit == "seconds" else None


def _step(arm: Arm) -> str:
    """What the time of a step depends on before any automation acts: arms that agree in it get equal iterations."""
    config = arm.config
    losses = [loss.model_copy(update={"loss_weight": float(loss.loss_weight != 0)}) for loss in config.train.losses]
    parts = [
        str(config.train.budget),
        config.network,
        config.scale,
        config.batch,
        config.micro_batch,
        config.patch,
        losses,
    ]
    machine = "num_gpu num_threads deterministic use_amp amp_bf16 use_channels_last fast_matmul use_compile"
    settings = [getattr(config, name) for name in machine.split()]
    return repr((*parts, config.train.optim_g.tag(), *settings))


def _in_iterations(config: Config, total: int) -> Config:
    config = fitted(config, total)
    return config.model_copy(update={"train": config.train.model_copy(update={"budget": None})})
