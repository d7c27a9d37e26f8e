"""The models of a folder, the last few kept loaded."""

from collections import OrderedDict
from pathlib import Path

from paragonsr import models
from paragonsr.errors import UserError
from paragonsr.inference.model import Upscaler, load

SUFFIXES = (".safetensors", ".pth", ".onnx")

FileState = tuple[int, int, int] | None
"""Inode, size and time of change of a file; None where there is none, as of a model of the package."""


class Models:
    """Loads models by name, and forgets the one that was not used for longest when too many are loaded.

    Not safe to be used by several threads at once.

    Args:
        folder: its models, and those of all folders in it but the resume states of runs.
        keep: how many stay loaded.
        device: where they compute; the GPU if there is one.
    """

    def __init__(self, folder: Path, keep: int = 2, device: str | None = None) -> None:
        self.folder, self.keep, self.device = folder, keep, device
        self._loaded: OrderedDict[str, tuple[FileState, Upscaler]] = OrderedDict()

    def names(self) -> list[str]:
        """Every model that is there now, as a path below the folder, and those that come with the package."""
        files = (file for file in self.folder.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        paths = (file.relative_to(self.folder) for file in files)
        return sorted(path.as_posix() for path in paths if "training_states" not in path.parts) + models.names()

    def get(self, name: str) -> Upscaler:
        """A model, loaded if it was not, or if its file was replaced since.

        Raises:
            UserError: not one of `names`, or it cannot be loaded.
        """
        if name not in self.names():  # so that no name leads out of the folder
            raise UserError(f"unknown model {name}")
        file = self.folder / name
        state = _state(file)
        if name in self._loaded and self._loaded[name][0] != state:
            del self._loaded[name]
        if name not in self._loaded:
            while len(self._loaded) >= self.keep:
                self._loaded.popitem(last=False)
            self._loaded[name] = state, load(file if state else name, device=self.device)
        self._loaded.move_to_end(name)
        return self._loaded[name][1]

    @property
    def loaded(self) -> list[str]:
        """The names of those that are loaded, the one used last at the end."""
        return list(self._loaded)


def _state(file: Path) -> FileState:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
