"""Models of a folder; the most recently used ones stay loaded."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from paragonsr import models
from paragonsr.errors import UserError
from paragonsr.export.engines import use_engine
from paragonsr.inference.model import Upscaler, load

SUFFIXES = (".safetensors", ".pth", ".onnx")

FileState = tuple[int, int, int] | None
"""Inode, size and modification time of a file; None if there is no file, as for a bundled model."""


@dataclass(frozen=True)
class Entry:
    """A model in the list of the page."""

    name: str
    """Name in `Models.names`."""
    title: str
    """What the list shows."""
    more: bool
    """Whether it is shown only on demand."""


class Models:
    """Loads models by name, and unloads the least recently used one when too many are loaded.

    Not thread-safe.

    Args:
        folder: folder of models, searched recursively; resume states of runs are skipped.
        keep: number of models that stay loaded.
        device: device to compute on; by default the GPU, if there is one.
        engine: as in `use_engine`.
    """

    def __init__(self, folder: Path, keep: int = 2, device: str | None = None, engine: str = "auto") -> None:
        self.folder, self.keep, self.device, self.engine = folder, keep, device, engine
        self._loaded: OrderedDict[str, tuple[FileState, Upscaler]] = OrderedDict()

    def names(self) -> list[str]:
        """All current models, as paths relative to the folder, and the bundled models."""
        files = (file for file in self.folder.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        paths = (file.relative_to(self.folder) for file in files)
        return sorted(path.as_posix() for path in paths if "training_states" not in path.parts) + models.names()

    def entries(self) -> list[Entry]:
        """All current models for a list: the best weights of each run by the run's name, its others behind `more`."""
        found = self.names()
        runs = {str(PurePosixPath(name).parents[1]) for name in found if _is_best(name)}
        entries = []
        for name in found:
            path = PurePosixPath(name)
            of_run = path.parent.name == "models" and str(path.parents[1]) in runs
            title = str(path.parents[1]) if of_run and _is_best(name) else name
            entries.append(
                Entry(name, self.folder.resolve().name if title == "." else title, _is_more(path, of_run, found))
            )
        return sorted(entries, key=lambda entry: entry.more)

    def get(self, name: str) -> Upscaler:
        """Return a model; it is loaded first if needed, or if its file has been replaced.

        Raises:
            UserError: the name is not in `names`, or the model cannot be loaded.
        """
        if name not in self.names():  # so that no name can leave the folder
            raise UserError(f"unknown model {name}")
        file = self.folder / name
        state = _state(file)
        if name in self._loaded and self._loaded[name][0] != state:
            del self._loaded[name]
        if name not in self._loaded:
            while len(self._loaded) >= self.keep:
                self._loaded.popitem(last=False)
            weights = file if state else Path(name)
            # A file that this engine cannot compute, an ONNX file for torch, is computed by its own.
            engine = "auto" if self.engine == "torch" and weights.suffix == ".onnx" else self.engine
            self._loaded[name] = state, use_engine(load(weights, device=self.device), engine, weights)
        self._loaded.move_to_end(name)
        return self._loaded[name][1]

    @property
    def loaded(self) -> list[str]:
        """Names of the loaded models; the most recently used one is last."""
        return list(self._loaded)


def _is_best(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name == "best.safetensors" and path.parent.name == "models"


def _is_more(path: PurePosixPath, of_run: bool, names: Sequence[str]) -> bool:
    """Whether a run has better weights, or the same network is there as safetensors."""
    if of_run:
        return not _is_best(str(path))
    return path.suffix == ".onnx" and str(path.with_suffix(".safetensors")) in names


def _state(file: Path) -> FileState:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
