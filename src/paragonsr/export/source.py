"""Source of an export: a network with its weights and the metadata of its file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from paragonsr.archs.weights import load_network, read_metadata, save_metadata
from paragonsr.errors import UserError
from paragonsr.models import located


@dataclass(frozen=True)
class Source:
    """Trained network with metadata.

    Attributes:
        network: in eval mode, on the CPU.
        metadata: metadata of its file; always has `arch`, `scale`, `options` and `name`.
        path: file it was loaded from.
    """

    network: nn.Module
    metadata: dict[str, Any]
    path: Path

    @property
    def scale(self) -> int:
        """HR side / LR side."""
        return int(self.metadata["scale"])

    @property
    def arch(self) -> str:
        """Name of the network: one of ours, or the class in spandrel."""
        options = self.metadata["options"] if self.metadata["arch"] == "spandrel" else {}
        return str(options.get("network", self.metadata["arch"]))

    @property
    def name(self) -> str:
        """Name of the model by the convention of model databases: 2x-Name."""
        return f"{self.scale}x-{self.metadata['name']}"


def open_source(path: Path | str, arch: str | None = None, scale: int | None = None, **options: Any) -> Source:
    """Load weights and their metadata; arguments and errors are those of `load_network`.

    The name is that of the run, or of the file if the weights do not contain it, without a leading `2x_`.
    """
    path = located(path)
    network = load_network(path, arch=arch, scale=scale, **options)
    known = {"name": _plain(path.stem)} | (read_metadata(path) or {})
    known |= save_metadata(network.options, network.scale)  # type: ignore[arg-type]
    return Source(network, known | {"name": _plain(known["name"])}, path)


def place_for(target: Path, name: str) -> Path:
    """Path of a file to be written: `target`, or the usual name in a folder, which need not exist yet.

    Args:
        target: a file with the ending of `name`, or a folder; what has no ending is a folder.
        name: what the file is called in a folder.

    Raises:
        UserError: the target is a file of another kind, or where its folder would be is a file.
    """
    path = target / name if target.is_dir() or not target.suffix else target
    ending = Path(name).suffix
    if path.suffix != ending:
        raise UserError(f"the file name must end in {ending}", where=str(path), fix="Choose another name.")
    nearest = next(folder for folder in path.parents if folder.exists())
    if not nearest.is_dir():
        raise UserError("is a file, and a folder is needed there", where=str(nearest), fix="Choose another name.")
    return path


def _plain(name: str) -> str:
    return re.sub(r"^(?:\d+x(?:[-_ ]|(?=[A-Z])))+", "", name)
