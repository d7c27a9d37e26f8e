"""Conversion of weights to safetensors that describe their network, or that other programs recognise."""

import json
from pathlib import Path

import numpy as np
import torch

from paragonsr.archs.paragonsr2 import CompactParagonSR2
from paragonsr.archs.recognise import State
from paragonsr.archs.spandrel_options import SpandrelOptions
from paragonsr.archs.weights import save_metadata, save_weights
from paragonsr.archs.weights_file import HEADER
from paragonsr.export.compact_form import has_compact_form, run_compact, to_compact
from paragonsr.export.parity import compare
from paragonsr.export.source import Source, place_for

COMPACT_TOLERANCE = 1e-5
"""Maximum difference of a converted network, where 1 is white."""


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
    return _write(source, target, source.network.state_dict())


def convert_for_spandrel(source: Source, target: Path) -> Source:
    """Write a network so that programs with spandrel can load it.

    A compact network (nano to s) becomes a network that spandrel has, Compact, which computes the same; this is checked
    before the file is written. Networks that spandrel has are written as they are. All others keep their tensors and
    get their options as one more, which the architecture in contrib/spandrel and the plug-in read.

    Args:
        source: as in `convert`.
        target: as in `convert`.

    Returns:
        the source as it was written: with the converted network's metadata, and its path.

    Raises:
        UserError: as in `convert`.
        ParityError: the converted network differs from the source. Nothing is written then.
    """
    if source.metadata["arch"] == SpandrelOptions.tag():
        return convert(source, target)
    state = source.network.state_dict()
    if not isinstance(source.network, CompactParagonSR2) or not has_compact_form(source.network):
        header = np.frombuffer(json.dumps(source.metadata).encode(), np.uint8)
        return _write(source, target, state | {HEADER: torch.from_numpy(header.copy())})
    tensors, arguments = to_compact(source.network)

    def run(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return run_compact(tensors, source.scale, torch.from_numpy(image)).numpy()

    compare(run, source.network, COMPACT_TOLERANCE)
    options = SpandrelOptions(network="Compact", arguments=arguments)
    converted = save_metadata(options, source.scale) | {"name": source.metadata["name"]}
    return _write(Source(source.network, converted, source.path), target, tensors)


def _write(source: Source, target: Path, tensors: State) -> Source:
    path = place_for(target, f"{source.name}.safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, tensors, source.metadata)
    return Source(source.network, source.metadata, path)
