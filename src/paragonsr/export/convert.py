"""Weights of other programs as safetensors that say what they are."""

from pathlib import Path

from paragonsr.archs.weights import save_weights
from paragonsr.export.source import Source, place_for


def convert(source: Source, target: Path) -> Source:
    """Write a network with its options, so that it is restored without being told what it is.

    Args:
        source: weights in any format that can be read.
        target: a .safetensors file, or a folder, which is made; in it the file is called by convention, 2x-Name.

    Returns:
        The same, at its new place.

    Raises:
        UserError: another kind of file, or a place where no folder can be.
    """
    path = place_for(target, f"{source.name}.safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, source.network.state_dict(), source.metadata)
    return Source(source.network, source.metadata, path)
