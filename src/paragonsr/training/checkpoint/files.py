"""Checkpoints on disk: written atomically, verified when read; the last k and the best are kept."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from paragonsr.archs.earlier_names import current_names
from paragonsr.errors import UserError
from paragonsr.files import write_atomically

AUTOSAVE = "autosave"


def write_state(path: Path, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
    """Write a resume state: a safetensors file whose header also holds JSON and a digest of both.

    The file appears under its name only when it is complete and flushed to disk.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(rest)
    data = save(tensors, {"paragonsr.state": text, "digest": _digest(tensors, text)})
    write_atomically(path, data)


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read and verify what `write_state` wrote. Nothing in the file is executed.

    Returns:
        the tensors, and the rest, including the `digest` that identifies the state.

    Raises:
        UserError: the file is missing, truncated, damaged, or not a resume state.
    """
    if _is_foreign(path):
        raise UserError(
            "this resume state was written by another trainer; only its weights can be used",
            where=str(path),
            fix="Start from the weights that were saved with it: path.pretrain_network_g=...",
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except FileNotFoundError:
        raise UserError("this resume state does not exist", where=str(path)) from None
    except (SafetensorError, OSError) as error:
        raise _damaged(path, str(error)) from None
    if "paragonsr.state" not in metadata:
        raise UserError("not a resume state of paragonsr", where=str(path), fix="Give a .state file.")
    text = metadata["paragonsr.state"]
    if metadata.get("digest") != _digest(tensors, text):
        raise _damaged(path, "its content does not match its digest")
    return current_names(tensors), json.loads(text) | {"digest": metadata["digest"]}


def _is_foreign(path: Path) -> bool:
    """Whether a file is a PyTorch archive or a pickle, like the states of BasicSR and traiNNer-redux."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError:
        return False
    return head.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x04"))


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"this resume state is truncated or damaged ({why})",
        where=str(path),
        fix="Move the file away to resume from an earlier state, or start over with --fresh.",
    )


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class CheckpointFiles:
    """The checkpoints of one run.

    The last k of `training_states/<iteration>.state` are kept; states with other names are overwritten. A run resumes
    from the newest of the numbered states and `autosave.state`.

    Args:
        folder: the run's folder.
        keep_last: number of numbered states, and of weights with the same numbers, to keep.
    """

    def __init__(self, folder: Path, keep_last: int) -> None:
        self.states, self.models = folder / "training_states", folder / "models"
        self._keep_last = keep_last

    def save_state(self, name: str, tensors: dict[str, Tensor], rest: dict[str, Any]) -> Path:
        """Write a state; if it is named by its iteration, numbered states beyond the last `keep_last` are deleted."""
        path = self.states / f"{name}.state"
        write_state(path, tensors, rest)
        if name.isdigit():
            (self.states / f"{AUTOSAVE}.state").unlink(missing_ok=True)
            for number in self._numbers()[: -self._keep_last]:
                (self.states / f"{number}.state").unlink(missing_ok=True)
                for weights in self.models.glob(f"*_{number}.safetensors"):
                    weights.unlink()
        return path

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self.states.glob("*.state") if path.stem.isdigit())

    def archive(self, after: int, kept: Path) -> Path | None:
        """Move everything a run saved after an iteration, and its best weights, to an archive folder.

        Nothing is lost, and a later resume does not mistake the abandoned states for those of the continued run.

        Args:
            after: the iteration that the run returns to.
            kept: the state that it returns to; it is not moved.

        Returns:
            the archive folder; None if there was nothing to move.
        """
        abandoned = [self.states / f"{number}.state" for number in self._numbers() if number > after]
        abandoned += [self.states / f"{AUTOSAVE}.state", self.models / "best.safetensors"]
        abandoned = [path for path in abandoned if path.exists() and path.resolve() != kept.resolve()]
        if not abandoned:
            return None
        place = self.states.parent / f"archive_{time.strftime('%Y%m%d_%H%M%S')}"
        place.mkdir()
        for path in abandoned:
            path.rename(place / path.name)
        return place

    def newest(self, parent: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any], list[str]] | None:
        """Most advanced readable state, and a sentence for each unreadable one; None if there is no state.

        Args:
            parent: digest of a state; only states that descend from it are considered.

        Raises:
            UserError: there are states, but none can be read.
        """
        paths = [self.states / f"{number}.state" for number in reversed(self._numbers())]
        if (self.states / f"{AUTOSAVE}.state").exists():
            paths.insert(0, self.states / f"{AUTOSAVE}.state")
        troubles: list[UserError] = []
        found: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        for path in paths:
            try:
                tensors, rest = read_state(path)
            except UserError as error:
                troubles.append(error)
                continue
            if parent is not None and rest.get("parent") != parent:
                continue
            if found is None or rest["iteration"] > found[1]["iteration"]:
                found = tensors, rest
            if path.stem != AUTOSAVE:
                break
        if found is None and troubles and parent is None:
            raise troubles[0]
        notes = [f"{trouble.where}: {trouble.what}; resuming from an older state" for trouble in troubles]
        return (*found, notes) if found else None
