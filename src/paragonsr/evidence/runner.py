"""Carrying a comparison out: one process per run, arms taking turns, finished runs kept."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from paragonsr.archs.weights import save_metadata, save_weights
from paragonsr.config import Config
from paragonsr.data.lock import is_claimed
from paragonsr.errors import UserError
from paragonsr.evidence.arms import Arm, file_name, write_config
from paragonsr.evidence.planning import PLAN
from paragonsr.evidence.process import POLL, run_to_its_end
from paragonsr.evidence.runs import Run
from paragonsr.training.reporting.record import LOCK


@dataclass(frozen=True)
class PlannedRun:
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
        return f"{self.arm.file_name}_seed{self.seed}"

    @property
    def done(self) -> bool:
        """Whether it was trained to its end."""
        run = self.run
        return run.exists and run.ended


def finished_runs(folder: Path) -> dict[str, list[Run]]:
    """The ended runs of every arm of a comparison that lies in this folder, by seed."""
    found: dict[str, list[Run]] = {}
    for arm in json.loads((folder / PLAN).read_text(encoding="utf-8"))["arms"]:
        name = re.compile(re.escape(file_name(arm)) + r"_seed(\d+)")
        folders = [(match, path) for path in (folder / "runs").iterdir() if (match := name.fullmatch(path.name))]
        runs = [Run(path) for _, path in sorted((int(match[1]), path) for match, path in folders)]
        found[arm] = [run for run in runs if run.exists and run.ended]
    return found


def planned_runs(arms: Sequence[Arm], seeds: Sequence[int], folder: Path) -> Iterator[PlannedRun]:
    """All runs, seed by seed; every other seed turns the order of the arms round, so that a drift hurts all alike."""
    for seed in seeds:
        for arm in arms if seed % 2 == 0 else reversed(arms):
            yield PlannedRun(arm, seed, folder)


def run_arm(planned: PlannedRun, first: Arm, tell: Callable[[str], None]) -> None:
    """Train one run to its end in a process of its own, going on where an earlier one stopped.

    Args:
        planned: the run.
        first: the arm whose initial weights it shares where the networks agree.
        tell: is given what the run says, line by line.

    Raises:
        UserError: the run failed; the message ends with what it said.
        KeyboardInterrupt: Ctrl-C or a signal to end, after the run has saved its state.
    """
    _wait_for_another(planned, tell)
    if planned.done:
        return
    file = _written(planned, first)
    log = file.with_suffix(".log")
    code = run_to_its_end([sys.executable, "-m", "paragonsr", "train", str(file)], log, tell)
    if not planned.done:
        killed = f" (killed by signal {-code}; 9 is what Linux sends when memory runs out)" if code < 0 else ""
        said = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
        raise UserError(
            f"the run {planned.name} did not end{killed}" + (f":\n{said}" if said else ""),
            where=str(planned.run.folder),
            fix="Fix the cause and run the same command again. Finished runs are kept, this one is resumed.",
        )


def _wait_for_another(planned: PlannedRun, tell: Callable[[str], None]) -> None:
    """A comparison that was killed may have left the process of this run behind, which trains on."""
    lock = planned.run.folder / LOCK
    if is_claimed(lock):
        tell("another process is training this run already; waiting for its end")
        while is_claimed(lock):
            time.sleep(POLL)


def _written(planned: PlannedRun, first: Arm) -> Path:
    """The file of the run's configuration, and beside it the weights that it starts from where it shares some."""
    configs = planned.folder / "configs"
    configs.mkdir(parents=True, exist_ok=True)
    path = planned.arm.config.path.model_copy(update={"experiments_root": str(planned.folder / "runs")})
    if planned.arm.config.network != first.config.network:
        initial = _initial_weights(planned, first)
        if initial is not None:
            weights = configs / f"{planned.name}.safetensors"
            save_weights(weights, initial, save_metadata(planned.arm.config.network, planned.arm.config.scale))
            path = path.model_copy(update={"pretrain_network_g": str(weights)})
    changes: dict[str, Any] = {"name": planned.name, "manual_seed": planned.seed, "path": path}
    file = configs / f"{planned.name}.yml"
    write_config(planned.arm.config.model_copy(update=changes), file)
    return file


def _initial_weights(planned: PlannedRun, first: Arm) -> dict[str, torch.Tensor] | None:
    """Initial weights of an arm whose network is built otherwise than the first one's: equal wherever they agree.

    None where the networks have the same tensors: then the seed alone gives them equal weights, but for what an option
    starts otherwise. For the same reason only random tensors are taken over, no constant ones.
    """
    common = _initial_state(first.config, planned.seed)
    state, other = (_initial_state(planned.arm.config, seed) for seed in (planned.seed, planned.seed + 1))
    if {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in common.items()}:
        return None
    agreeing = {k: common[k] for k, v in state.items() if k in common and common[k].shape == v.shape}
    return state | {k: v for k, v in agreeing.items() if not torch.equal(state[k], other[k])}


def _initial_state(config: Config, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    network = config.network.build(scale=config.scale)
    return dict(network.state_dict())
