"""Conversion of weights to safetensors that describe their network."""

from pathlib import Path

from paragonsr.archs.weights import save_weights
from paragonsr.export.source import Source, place_for


def convert(source: Source, target: Path) -> Source:
    """Write a network with its options, so that it can be rebuilt from the file alone.

    Args:
        source: the network, loaded from any supported format.
        target: a .safetensors file, or a folder, created if needed, where the name follows the convention 2x-Name.

    Returns:
        the same source with its new path.

    Raises:
        UserError: the target has another extension, or its folder cannot be created.
    """
    path = place_for(target, f"{source.name}.safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, source.network.state_dict(), source.metadata)
    return Source(source.network, source.metadata, path)
