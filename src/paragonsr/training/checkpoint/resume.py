"""Finding the state that a run continues from."""

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
    """A resume state as it was read."""

    tensors: dict[str, Tensor]
    rest: dict[str, Any]
    """Counters, parts, and what the state says about its run."""

    @property
    def iteration(self) -> int:
        """Iterations finished."""
        return int(self.rest["iteration"])

    @property
    def positions(self) -> dict[str, int]:
        """Sizes of the append-only files when the state was saved."""
        return dict(self.rest["positions"])

    @property
    def parent(self) -> str | None:
        """Digest of the state, named by the user, that this one goes back to."""
        return self.rest.get("parent")


def find_state(
    config: Config, images: str, folder: RunFolder, device_context: DeviceContext, console: Console
) -> ResumeState | None:
    """The state to continue from: the one that `path.resume_state` names, or the newest of the run's folder.

    Args:
        config: the run.
        images: fingerprint of the training images.
        folder: the run's folder.
        device_context: the main process archives what is left behind.
        console: is told what the user should know.

    Returns:
        the state; None where there is none.

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
        UserError: naming both formats.
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
    """Refuse a state of another run; `where` is for the message.

    Raises:
        UserError: naming every key that differs, or that the training images differ.
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
    """The state that the user names; or, when this run has been there already, the newest that goes back to it."""
    tensors, rest = read_state(path)
    require_format(rest, str(path))
    require_own(rest, config, images, str(path))
    begun = files.newest(parent=rest["digest"])
    if begun is not None:
        return ResumeState(*begun[:2])
    with device_context.main_process_first():
        place = files.archive(rest["iteration"], kept=path) if device_context.is_main_process else None
    if place is not None:
        console.say(f"what came after iteration {rest['iteration']}, and the best weights so far, are now in {place}")
    own = path.resolve().parent == files.states.resolve()
    # The weights that were best belong to what is left behind: the best is found again.
    positions = rest["positions"] if own else {}
    return ResumeState(tensors, rest | {"parent": rest["digest"], "best": None, "positions": positions})
