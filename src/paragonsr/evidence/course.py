"""Carrying a comparison out: one process per run, arms taking turns, finished runs kept."""

import glob
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from paragonsr.archs.weights import save_metadata, save_weights
from paragonsr.config import Config
from paragonsr.config.budget import fitted, parse_budget, rescaling
from paragonsr.errors import UserError
from paragonsr.evidence.arms import Arm, write_config
from paragonsr.evidence.runs import Run
from paragonsr.files import write_atomically
from paragonsr.training.estimate import estimate

ROUNDS = 4
"""How often the speed of each arm is measured, the arms taking turns, when a budget of seconds is planned. The fastest
round counts: other processes can only slow an arm down."""


@dataclass(frozen=True)
class Leg:
    """One run of a comparison: an arm with a seed."""

    arm: Arm
    seed: int
    folder: Path

    @property
    def run(self) -> Run:
        """Its folder."""
        return Run(self.folder / "runs" / self.name)

    @property
    def name(self) -> str:
        """Name of the run."""
        return f"{_folder_name(self.arm.name)}_seed{self.seed}"

    @property
    def done(self) -> bool:
        """Whether it was trained to its end."""
        run = self.run
        return (run.folder / "run.json").exists() and run.ended


def _folder_name(arm: str) -> str:
    return "".join(c if c.isalnum() or c in "-_.=+" else "_" for c in arm)


def carried_out(folder: Path) -> dict[str, list[Run]]:
    """The ended runs of every arm of a comparison that lies in this folder, by seed."""
    found = {}
    for arm in json.loads((folder / "plan.json").read_text(encoding="utf-8"))["arms"]:
        by_seed = {
            int(path.name.rpartition("_seed")[2]): Run(path)
            for path in (folder / "runs").glob(f"{glob.escape(_folder_name(arm))}_seed*")
        }
        found[arm] = [run for _, run in sorted(by_seed.items()) if run.ended]
    return found


def legs(arms: Sequence[Arm], seeds: Sequence[int], folder: Path) -> Iterator[Leg]:
    """All runs, seed by seed; every other seed turns the order of the arms round, so that a drift hurts all alike."""
    for seed in seeds:
        for arm in arms if seed % 2 == 0 else reversed(arms):
            yield Leg(arm, seed, folder)


def planned(arms: Sequence[Arm], folder: Path, say: Callable[[str], None]) -> list[Arm]:
    """The arms with budgets of seconds turned into iterations, once for all seeds; kept in plan.json.

    Arms may be added to a comparison later; those that it has must be as they were.

    Raises:
        UserError: the folder holds another comparison.
    """
    wanted = json.loads(json.dumps({arm.name: arm.keys() for arm in arms}))
    file = folder / "plan.json"
    plan = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"arms": {}, "totals": {}}
    if any(keys != wanted.get(name) for name, keys in plan["arms"].items()):
        raise UserError("this folder holds a comparison of other arms", where=str(folder), fix="give another --out")
    added = [arm for arm in arms if arm.name not in plan["arms"]]
    if added:
        measured = {_step(arm): plan["totals"][arm.name] for arm in arms if arm.name in plan["arms"]}
        alike = {arm.name: measured[_step(arm)] for arm in added if _step(arm) in measured}
        new = _totals([arm for arm in added if arm.name not in alike], say)
        plan = {"arms": wanted, "totals": plan["totals"] | alike | new}
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(plan, indent=2).encode())
    return [Arm(arm.name, _in_iterations(arm.config, plan["totals"][arm.name])) for arm in arms]


def carry_out(leg: Leg, first: Arm) -> None:
    """Train one run to its end in a process of its own, going on where an earlier one stopped.

    Raises:
        UserError: the run failed; the message ends with what it said.
    """
    configs = leg.folder / "configs"
    configs.mkdir(parents=True, exist_ok=True)
    changes: dict[str, Any] = {"name": leg.name, "manual_seed": leg.seed}
    path = leg.arm.config.path.model_copy(update={"experiments_root": str(leg.folder / "runs")})
    if leg.arm.config.network != first.config.network:
        initial = _initial_weights(leg, first)
        if initial is not None:
            weights = configs / f"{leg.name}.safetensors"
            save_weights(weights, initial, save_metadata(leg.arm.config.network, leg.arm.config.scale))
            path = path.model_copy(update={"pretrain_network_g": str(weights)})
    config = leg.arm.config.model_copy(update=changes | {"path": path})
    file = configs / f"{leg.name}.yml"
    write_config(config, file)
    done = subprocess.run(
        [sys.executable, "-m", "paragonsr", "train", str(file)], capture_output=True, text=True, check=False
    )
    if done.returncode or not leg.done:
        raise UserError(
            f"the run {leg.name} did not end:\n{(done.stdout + done.stderr).strip()[-2000:]}",
            where=str(leg.run.folder),
            fix="mend it and give the same command again: finished runs are kept, this one goes on",
        )


def _step(arm: Arm) -> str:
    """What a training step depends on before any automation acts: arms that agree in it take equally long."""
    config = arm.config.made_fair()
    train = config.train
    parts = [config.network, config.train_set, train.losses, train.optim_g.tag(), config.use_amp, config.num_threads]
    return repr((parts, train.budget, config.scale, config.num_gpu, config.use_channels_last, config.use_compile))


def _totals(arms: Sequence[Arm], say: Callable[[str], None]) -> dict[str, int]:
    budgets = {arm.name: parse_budget(arm.config.train.budget) if arm.config.train.budget else None for arm in arms}
    timed = [arm for arm in arms if (b := budgets[arm.name]) is not None and b.unit == "seconds"]
    steps = {arm.name: _step(arm) for arm in timed}
    times: dict[str, list[float]] = {step: [] for step in steps.values()}
    for _ in range(ROUNDS):
        for arm in timed:
            times[steps[arm.name]].append(estimate(arm.config).seconds)
    totals = {arm.name: arm.config.train.total_iter for arm in arms}
    for arm in timed:
        budget, seconds = budgets[arm.name], min(times[steps[arm.name]])
        assert budget is not None
        totals[arm.name] = max(1, int(budget.amount / seconds))
        plan = rescaling(arm.config, fitted(arm.config, totals[arm.name]))
        say(f"{arm.name}: {seconds * 1e3:.1f} ms per step measured; {plan}")
    return totals


def _in_iterations(config: Config, total: int) -> Config:
    config = fitted(config, total)
    return config.model_copy(update={"train": config.train.model_copy(update={"budget": None})})


def _initial_weights(leg: Leg, first: Arm) -> dict[str, torch.Tensor] | None:
    """Initial weights of an arm whose network is built otherwise than the first one's: equal wherever they agree.

    None where the networks have the same tensors: then the seed alone gives them equal weights, but for what an option
    starts otherwise. For the same reason only random tensors are taken over, no constant ones.
    """
    common = _initial_state(first.config, leg.seed)
    state, other = (_initial_state(leg.arm.config, seed) for seed in (leg.seed, leg.seed + 1))
    if {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in common.items()}:
        return None
    agreeing = {k: common[k] for k, v in state.items() if k in common and common[k].shape == v.shape}
    return state | {k: v for k, v in agreeing.items() if not torch.equal(state[k], other[k])}


def _initial_state(config: Config, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    network = config.network.build(scale=config.scale)
    return dict(network.state_dict())
