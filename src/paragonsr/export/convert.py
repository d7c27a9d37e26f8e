"""Weights of other programs as safetensors that say what they are."""

from pathlib import Path

from paragonsr.archs.weights import save_weights
from paragonsr.errors import UserError
from paragonsr.export.source import Source


def convert(source: Source, target: Path) -> Source:
    """Write a network with its options, so that it is restored without being told what it is.

    Args:
        source: weights in any format that can be read.
        target: a .safetensors file, or a folder, in which it is called by convention: 2x-Name.safetensors.

    Returns:
        The same, at its new place.

    Raises:
        UserError: another kind of file, or no such folder.
    """
    path = target / f"{source.name}.safetensors" if target.is_dir() else target
    if path.suffix != ".safetensors":
        raise UserError("the file name must end in .safetensors", where=str(path), fix="Choose another name.")
    save_weights(path, source.network.state_dict(), source.metadata)
    return Source(source.network, source.metadata, path)
