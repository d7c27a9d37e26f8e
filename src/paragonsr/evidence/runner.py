"""Execution of a comparison: one process per run, alternating arms; finished runs are kept."""

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
        """Folder of the run."""
        return Run(self.folder / "runs" / self.name)

    @property
    def name(self) -> str:
        """Name of the run."""
        return f"{self.arm.file_name}_seed{self.seed}"

    @property
    def done(self) -> bool:
        """Whether the run is finished."""
        run = self.run
        return run.exists and run.ended


def finished_runs(folder: Path) -> dict[str, list[Run]]:
    """Finished runs of every arm of the comparison in this folder, ordered by seed."""
    found: dict[str, list[Run]] = {}
    for arm in json.loads((folder / PLAN).read_text(encoding="utf-8"))["arms"]:
        name = re.compile(re.escape(file_name(arm)) + r"_seed(\d+)")
        folders = [(match, path) for path in (folder / "runs").iterdir() if (match := name.fullmatch(path.name))]
        runs = [Run(path) for _, path in sorted((int(match[1]), path) for match, path in folders)]
        found[arm] = [run for run in runs if run.exists and run.ended]
    return found


def planned_runs(arms: Sequence[Arm], seeds: Sequence[int], folder: Path) -> Iterator[PlannedRun]:
    """All runs, seed by seed; every other seed reverses the order of the arms, so that drift affects all equally."""
    for seed in seeds:
        for arm in arms if seed % 2 == 0 else reversed(arms):
            yield PlannedRun(arm, seed, folder)


def run_arm(planned: PlannedRun, first: Arm, tell: Callable[[str], None]) -> None:
    """Train one run to its end in its own process, resuming an earlier one.

    Args:
        planned: the run.
        first: the first arm, whose initial weights are shared where the networks agree.
        tell: receives the output of the run, line by line.

    Raises:
        UserError: the run failed; the message ends with its output.
        KeyboardInterrupt: Ctrl-C or a signal to end, raised after the run has saved its state.
    """
    _wait_for_another(planned, tell)
    if planned.done:
        return
    file = _written(planned, first)
    log = file.with_suffix(".log")
    code = run_to_its_end([sys.executable, "-m", "paragonsr", "train", str(file)], log, tell)
    if not planned.done:
        killed = f" (killed by signal {-code}; Linux sends 9 when memory runs out)" if code < 0 else ""
        said = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
        raise UserError(
            f"the run {planned.name} did not finish{killed}" + (f":\n{said}" if said else ""),
            where=str(planned.run.folder),
            fix="Fix the cause and run the same command again. Finished runs are kept, this one is resumed.",
        )


def _wait_for_another(planned: PlannedRun, tell: Callable[[str], None]) -> None:
    """Wait for the process of this run that a killed comparison may have left behind and that still trains."""
    lock = planned.run.folder / LOCK
    if is_claimed(lock):
        tell("another process is already training this run; waiting for it to end")
        while is_claimed(lock):
            time.sleep(POLL)


def _written(planned: PlannedRun, first: Arm) -> Path:
    """Write the configuration of the run, and next to it the weights to start from, if it shares any."""
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
    """Initial weights of an arm with a different network than the first arm: equal wherever the two agree.

    None if the networks have the same tensors: then the seed alone gives equal weights, except where an option changes
    the initialisation. For the same reason, only random tensors are copied, not constant ones.
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
