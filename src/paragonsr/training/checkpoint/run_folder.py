"""Folder of a run: created, locked by one process, resumed or archived, and described in run.json."""

import json
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

import paragonsr
from paragonsr.config import Config
from paragonsr.data.lock import claim
from paragonsr.errors import UserError
from paragonsr.run_description import has_description, read_description, write_description
from paragonsr.training.reporting.record import LOCK

SUBFOLDERS = ("models", "training_states", "visualization", "tb")

RUNTIME_KEYS = (
    "name num_gpu num_threads deterministic use_amp amp_bf16 use_channels_last fast_matmul use_compile detect_anomaly "
    "path val logger "
    "train.total_iter train.scheduler train.training_automations train.dynamic_loss_scheduling "
    "datasets.train.num_worker_per_gpu datasets.train.prefetch_factor datasets.train.store_root datasets.train.name "
    "datasets.train.dataroot_gt datasets.train.dataroot_lq"
).split()
"""Keys that may change when a run is resumed. The training images may move but not change: their fingerprint is
checked."""


class RunFolder:
    """`<experiments_root>/<name>` with its `run.json`.

    Args:
        config: the run's configuration.
        fresh: archive an earlier run of the same name instead of resuming it.
        is_main_process: whether this process creates and locks the folder; the others only read it.

    Raises:
        UserError: the folder cannot be created or written, or another process is training in it.
    """

    def __init__(self, config: Config, *, fresh: bool, is_main_process: bool) -> None:
        self.path = Path(config.path.experiments_root) / config.name
        self._lock: int | None = None
        if is_main_process:
            self._prepare(fresh)

    def _prepare(self, fresh: bool) -> None:
        try:
            if fresh and self.path.exists():
                archive = self.path.with_name(f"{self.path.name}_archived_{time.strftime('%Y%m%d_%H%M%S')}")
                self.path.rename(archive)
            for name in SUBFOLDERS:
                (self.path / name).mkdir(parents=True, exist_ok=True)
            self._claim()
            for unfinished in self.path.rglob(".*.tmp"):  # left by a process that was killed while writing
                unfinished.unlink()
        except OSError as error:
            raise UserError(
                f"cannot write to the run's folder: {error.strerror}",
                where=str(self.path),
                fix="Fix its permissions, or choose another location with path.experiments_root=...",
            ) from None

    def _claim(self) -> None:
        self._lock = claim(self.path / LOCK)
        if self._lock is None:
            raise UserError(
                "another process is training in this folder",
                where=str(self.path),
                fix="Wait until it ends, or give this run another name.",
            )

    def release(self) -> None:
        """Release the lock, so that other processes can train in the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self) -> dict[str, Any] | None:
        """Read run.json of an earlier session, if there was one.

        Raises:
            UserError: the file is damaged, or of another version.
        """
        return read_description(self.path) if has_description(self.path) else None

    def write(self, description: dict[str, Any]) -> None:
        """Replace run.json."""
        write_description(self.path, description)

    def earlier(self, config: Config, iteration: int) -> list[dict[str, Any]]:
        """Other configurations that the run was trained with up to the iteration from which it now continues.

        Returns:
            `config` and `until` (the last iteration it was used for) of each, in order; empty if there was only one.
        """
        before = self.read() if iteration else None
        if before is None:
            return []
        spans = [*before.get("earlier", []), {"until": math.inf, "config": before["config"]}]
        held = [span for span in spans if span["until"] < iteration]
        last = spans[len(held)]["config"]
        if last != json.loads(json.dumps(config.model_dump())):
            held.append({"until": iteration, "config": last})
        return held

    def check_same(self, config: Config, fingerprint: str) -> None:
        """Refuse to resume a run with different settings, unless it has not saved anything yet.

        Raises:
            UserError: the configuration or the training images differ; the message names every difference.
        """
        earlier = self.read()
        saved = any(path.suffix in (".state", ".safetensors") for path in self.path.glob("*/*"))
        if earlier is not None and saved:
            fix = "Undo these changes to resume it, or start over with --fresh (the old folder is archived)."
            require_same(earlier["config"], earlier["data"]["train"], config, fingerprint, str(self.path), fix)


def require_same(
    earlier: dict[str, Any], earlier_fingerprint: str, config: Config, fingerprint: str, where: str, fix: str
) -> None:
    """Refuse to continue a run that was started with other settings or images.

    Args:
        earlier: configuration that the run was started with.
        earlier_fingerprint: fingerprint of its training images.
        config: current configuration.
        fingerprint: fingerprint of the current training images.
        where, fix: location and fix given in the message.

    Raises:
        UserError: the configuration or the training images differ; the message names every difference.
    """
    before, now = flat(earlier), flat(config.model_dump())
    differing = [
        f"{key}: was {before.get(key)!r}, is {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and not _may_change(key)
    ]
    if earlier_fingerprint != fingerprint:
        differing.append(f"the training images: fingerprint was {earlier_fingerprint}, is {fingerprint}")
    if differing:
        raise UserError(
            "this run was started with other settings:\n    " + "\n    ".join(differing), where=where, fix=fix
        )


def _may_change(key: str) -> bool:
    if key.startswith("datasets.") and not key.startswith("datasets.train."):
        return True
    return any(key == runtime or key.startswith(f"{runtime}.") for runtime in RUNTIME_KEYS)


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten a nested configuration into dotted keys."""
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, list) and any(isinstance(item, dict) for item in tree):
        items = dict(enumerate(tree)).items()
    else:
        return {prefix: tree}
    leaves: dict[str, Any] = {}
    for key, value in items:
        leaves |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def environment() -> dict[str, Any]:
    """Versions, machine and commit, which the results of a run depend on."""
    return {
        "paragonsr": paragonsr.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "world": int(os.environ.get("WORLD_SIZE", 1)),
        "commit": _commit(),
        "command": " ".join(sys.argv),
    }


def _commit() -> str | None:
    """Git commit of the running source, with + if it has uncommitted changes; None outside a checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=here, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return commit.stdout.strip() or None
