"""Conversion of weights to safetensors that describe their network."""

from pathlib import Path

from paragonsr.archs.weights import save_weights
from paragonsr.errors import UserError
from paragonsr.export.source import Source


def convert(source: Source, target: Path) -> Source:
    """Write a network with its options, so that it can be rebuilt from the file alone.

    Args:
        source: the network, loaded from any supported format.
        target: a .safetensors file, or a folder, where the name follows the convention 2x-Name.safetensors.

    Returns:
        the same source with its new path.

    Raises:
        UserError: the target has another extension, or its folder does not exist.
    """
    path = target / f"{source.name}.safetensors" if target.is_dir() else target
    if path.suffix != ".safetensors":
        raise UserError("the file name must end in .safetensors", where=str(path), fix="Choose another name.")
    save_weights(path, source.network.state_dict(), source.metadata)
    return Source(source.network, source.metadata, path)
