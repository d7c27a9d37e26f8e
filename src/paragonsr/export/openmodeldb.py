"""The description of a model that OpenModelDB wants, from what its weights say.

Field names as in its `src/lib/schema.ts`. What no file knows - author, licence, description, where it can be had - is
left empty for its owner to fill in.
"""

import hashlib
import time
from pathlib import Path
from typing import Any

from paragonsr.archs.complexity import count_parameters
from paragonsr.export.source import Source
from paragonsr.run_description import has_description, read_description

PLATFORMS = {".safetensors": "pytorch", ".pth": "pytorch", ".pt": "pytorch", ".onnx": "onnx"}


def openmodeldb(source: Source, files: list[Path]) -> dict[str, Any]:
    """The JSON of a model. Its id, and the name of its file, is `source.name`.

    Args:
        source: the network and what its weights say.
        files: the same model in every format that is published.
    """
    metadata, options = source.metadata, source.metadata["options"]
    described: dict[str, Any] = {
        "name": metadata["name"],
        "author": "",
        "license": None,
        "tags": [],
        "description": "",
        "date": time.strftime("%Y-%m-%d"),
        "architecture": str(options.get("network", metadata["arch"])).lower(),
        "size": [f"{count_parameters(source.network)} parameters"],
        "scale": source.scale,
        "inputChannels": 3,
        "outputChannels": 3,
        "resources": [_resource(file) for file in files],
        "images": [],
    }
    if metadata.get("iteration"):
        described["trainingIterations"] = metadata["iteration"]
        described["trainingBatchSize"] = round(metadata["samples"] / metadata["iteration"])
    return described | _training(source)


def _training(source: Source) -> dict[str, Any]:
    """What the run's own record says, where the weights still lie in the folder of their run."""
    folder = source.path.parent.parent
    if source.path.parent.name != "models" or not has_description(folder):
        return {}
    config = read_description(folder)["config"]
    training = config["datasets"]["train"]
    patch = training["gt_size"] or training["lq_size"] * source.scale
    known = {
        "trainingHRSize": patch,
        "trainingOTF": False,
        "dataset": training["name"],
        "pretrainedModelG": config["path"]["pretrain_network_g"],
    }
    return {key: value for key, value in known.items() if value is not None}


def _resource(file: Path) -> dict[str, Any]:
    content = file.read_bytes()
    return {
        "platform": PLATFORMS[file.suffix],
        "type": file.suffix[1:],
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "urls": [],
    }
