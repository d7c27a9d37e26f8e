"""The folder of a run: made, claimed by one process, resumed or archived, and described in run.json."""

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
"""What may change when a run is resumed. The training images may move, but not change: their fingerprint is checked."""


class RunFolder:
    """`<experiments_root>/<name>` with its `run.json`.

    Args:
        config: the run's configuration.
        fresh: archive an earlier run of that name instead of resuming it.
        leads: whether this process makes and claims the folder; the others only read it.

    Raises:
        UserError: the folder cannot be made or written, or another process is training in it.
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
            for unfinished in self.path.rglob(".*.tmp"):  # of a process that was killed while it wrote
                unfinished.unlink()
        except OSError as error:
            raise UserError(
                f"the folder of the run cannot be written: {error.strerror}",
                where=str(self.path),
                fix="Give yourself the permission, or choose another place with path.experiments_root=...",
            ) from None

    def _claim(self) -> None:
        self._lock = claim(self.path / LOCK)
        if self._lock is None:
            raise UserError(
                "another process is training in this folder",
                where=str(self.path),
                fix="Wait for it, or give this run another name.",
            )

    def release(self) -> None:
        """Let other processes train in the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self) -> dict[str, Any] | None:
        """run.json of an earlier session, if there was one.

        Raises:
            UserError: it is damaged, or of another version.
        """
        return read_description(self.path) if has_description(self.path) else None

    def write(self, description: dict[str, Any]) -> None:
        """Replace run.json."""
        write_description(self.path, description)

    def earlier(self, config: Config, iteration: int) -> list[dict[str, Any]]:
        """What else the run was trained with up to the iteration from which it now continues with a configuration.

        Returns:
            config and until (the iteration up to which it held) of each, in order; none while there was no other.
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
        """Refuse to resume a run that would become another one; one that has saved nothing yet may still be changed.

        Raises:
            UserError: naming every key that differs, or that the training images differ.
        """
        earlier = self.read()
        saved = any(path.suffix in (".state", ".safetensors") for path in self.path.glob("*/*"))
        if earlier is not None and saved:
            fix = "Undo these changes to resume it, or start over with --fresh (the old folder is archived)."
            require_same(earlier["config"], earlier["data"]["train"], config, fingerprint, str(self.path), fix)


def require_same(
    earlier: dict[str, Any], earlier_fingerprint: str, config: Config, fingerprint: str, where: str, fix: str
) -> None:
    """Refuse to continue what was started as another run.

    Args:
        earlier: the configuration it was begun with.
        earlier_fingerprint: of its training images.
        config: that of today.
        fingerprint: of today's training images.
        where, fix: for the message.

    Raises:
        UserError: naming every key that differs, or that the training images differ.
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
    """A nested configuration as dotted keys."""
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
    """Versions, machine and commit: what a value of this run depends on."""
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
    """Git commit of the source that runs, with + when it was changed since; None outside a checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=here, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return commit.stdout.strip() or None
