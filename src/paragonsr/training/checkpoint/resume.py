"""Selection of the state that a run resumes from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from paragonsr.config import Config
from paragonsr.errors import UserError
from paragonsr.training.checkpoint.files import CheckpointFiles, read_state
from paragonsr.training.checkpoint.run_folder import RunFolder, require_same
from paragonsr.training.checkpoint.state import FORMAT
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.reporting.console import Console


@dataclass(frozen=True)
class ResumeState:
    """Content of a resume state."""

    tensors: dict[str, Tensor]
    rest: dict[str, Any]
    """Counters, state of the registered parts, and provenance."""

    @property
    def iteration(self) -> int:
        """Number of finished iterations."""
        return int(self.rest["iteration"])

    @property
    def positions(self) -> dict[str, int]:
        """Sizes in bytes of the append-only files when the state was saved."""
        return dict(self.rest["positions"])

    @property
    def parent(self) -> str | None:
        """Digest of the user-given state that this one descends from."""
        return self.rest.get("parent")


def find_state(
    config: Config, images: str, folder: RunFolder, device_context: DeviceContext, console: Console
) -> ResumeState | None:
    """Find the state to resume from: the one given by `path.resume_state`, or the newest in the run's folder.

    Args:
        config: the run.
        images: fingerprint of the training images.
        folder: the run's folder.
        device_context: its main process archives abandoned states.
        console: receives the messages for the user.

    Returns:
        the state; None if there is none.

    Raises:
        UserError: a state is damaged, of another format, or of another run.
    """
    files = CheckpointFiles(folder.path, config.logger.keep_last)
    if config.path.resume_state:
        return _named(Path(config.path.resume_state), files, config, images, device_context, console)
    found = files.newest()
    if found is None:
        if folder.read():
            console.say("an earlier run of this name left no resume state: starting over", "yellow")
        return None
    tensors, rest, troubles = found
    for trouble in troubles:
        console.say(trouble, "red")
    require_format(rest, str(files.states))
    require_own(rest, config, images, str(files.states))
    return ResumeState(tensors, rest)


def require_format(rest: dict[str, Any], where: str) -> None:
    """Refuse a state of another format.

    Raises:
        UserError: the formats differ; the message names both.
    """
    found = rest.get("format")
    if found != FORMAT:
        raise UserError(
            f"this resume state has format {found}, this version of paragonsr reads format {FORMAT}",
            where=where,
            fix="Resume it with the version that wrote it, or start a new run from its weights: "
            "path.pretrain_network_g=...",
        )


def require_own(rest: dict[str, Any], config: Config, images: str, where: str) -> None:
    """Refuse a state of another run; `where` is the location given in the message.

    Raises:
        UserError: the configuration or the training images differ; the message names every difference.
    """
    fix = "Undo these changes, or start a new run from its weights: path.pretrain_network_g=..."
    require_same(rest["config"], rest["images"], config, images, where, fix)


def _named(
    path: Path,
    files: CheckpointFiles,
    config: Config,
    images: str,
    device_context: DeviceContext,
    console: Console,
) -> ResumeState:
    """State given by the user or, if this run has already resumed from it, the newest state that descends from it."""
    tensors, rest = read_state(path)
    require_format(rest, str(path))
    require_own(rest, config, images, str(path))
    begun = files.newest(parent=rest["digest"])
    if begun is not None:
        return ResumeState(*begun[:2])
    with device_context.main_process_first():
        place = files.archive(rest["iteration"], kept=path) if device_context.is_main_process else None
    if place is not None:
        console.say(f"moved all states after iteration {rest['iteration']}, and the best weights so far, to {place}")
    own = path.resolve().parent == files.states.resolve()
    # The best weights belong to the abandoned branch, so the best is determined again.
    positions = rest["positions"] if own else {}
    return ResumeState(tensors, rest | {"parent": rest["digest"], "best": None, "positions": positions})
