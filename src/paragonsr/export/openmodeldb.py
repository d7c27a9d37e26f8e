"""Description of a model for OpenModelDB, as its `src/lib/model-props.ts` and `validate-model.ts` accept it.

Ids stand for architecture, author and tags; text is trimmed; every file has an address. The file is called `<id>.json`.
"""

import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paragonsr.errors import UserError

PLATFORMS = {".safetensors": "pytorch", ".pth": "pytorch", ".onnx": "onnx"}
ARCHITECTURES = {"upcunet": "real-cugan", "swiftsrgan": "swift-srgan"}
"""Beginnings of spandrel's names whose id is another; our own networks are `paragonsr2`, which they do not list yet."""
SIZES = {"num_feat": "nf", "num_conv": "nc", "num_filters": "nf", "num_blocks": "nb", "feature_channels": "nf"}
"""Argument of a network -> ending of its size."""


@dataclass(frozen=True)
class Statement:
    """What the author says about a model.

    Attributes:
        author: id of a user, lower case with dashes.
        licence: SPDX id of the model's licence.
        data: training images and their licence, as text.
        description: what the model is for.
        tags: ids of tags.
        address: address of the folder that the files will be in, without a trailing slash.
    """

    author: str
    licence: str
    data: str
    description: str
    tags: tuple[str, ...]
    address: str


def model_id(name: str, scale: int) -> str:
    """Id of a model, `2x-Name`: letters, digits and single dashes.

    Raises:
        UserError: the name has no letter or digit.
    """
    plain = re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-")
    plain = re.sub(rf"(?i)^(?:{scale}x|x{scale})-|-(?:{scale}x|x{scale})$", "", plain)
    if not plain:
        raise UserError(f"{name!r} is not a name for a model", fix="Name it with letters and digits.")
    return f"{scale}x-{plain}"


def canonical(text: str) -> str:
    """Id of a user or a tag: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def architecture(metadata: dict[str, Any]) -> tuple[str, list[str]]:
    """Id of an architecture, and its size in their terms, from the metadata of weights."""
    options = metadata["options"]
    network = options.get("network")
    if network is None:
        size = [f"{options['num_feat']}nf", f"{options['num_blocks']}nb"]
        return "paragonsr2", [str(metadata["arch"]).removeprefix("paragonsr2_"), *size]
    found = next(
        (known for start, known in ARCHITECTURES.items() if network.lower().startswith(start)), network.lower()
    )
    arguments = options.get("arguments", {})
    return found, [f"{arguments[key]}{ending}" for key, ending in SIZES.items() if key in arguments]


def describe(
    name: str,
    metadata: dict[str, Any],
    said: Statement,
    files: Sequence[Path],
    pictures: Sequence[tuple[str, str]],
    training: dict[str, Any],
) -> dict[str, Any]:
    """Description of a model.

    Args:
        name: name to be shown.
        metadata: that of the published weights.
        said: statement of the author.
        files: weights and graphs.
        pictures: names of the LR and the SR image of each pair, in the same folder.
        training: facts under their names in OpenModelDB.
    """
    found, size = architecture(metadata)
    described: dict[str, Any] = {
        "name": name,
        "author": said.author,
        "license": said.licence,
        "tags": list(said.tags),
        "description": said.description.strip(),
        "date": time.strftime("%Y-%m-%d"),
        "architecture": found,
        "size": size or None,
        "scale": metadata["scale"],
        "inputChannels": 3,
        "outputChannels": 3,
        "resources": [_resource(file, said.address) for file in files],
    }
    described |= {key: value for key, value in training.items() if value is not None} | {"dataset": said.data}
    described["images"] = [
        {"type": "paired", "LR": f"{said.address}/{lr}", "SR": f"{said.address}/{sr}"} for lr, sr in pictures
    ]
    return described


def as_text(described: dict[str, Any]) -> str:
    """JSON as they format it: four spaces, no line end."""
    return json.dumps(described, indent=4, ensure_ascii=False)


def _resource(file: Path, address: str) -> dict[str, Any]:
    content = file.read_bytes()
    return {
        "platform": PLATFORMS[file.suffix],
        "type": file.suffix[1:],
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "urls": [f"{address}/{file.name}"],
    }
