"""The models that come with the package: weights, ONNX files and cards.

    <name>.safetensors   fp16 weights that say what they are
    <name>.onnx          the same network for other programs
    <name>.json          the card: what it was trained on and with, what it measures, under which licence

Wherever a command or a key takes a file of weights, it takes the name of one of these, too.
"""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Names of the models, smallest file first."""
    files = sorted(FOLDER.glob("*.safetensors"), key=lambda file: (file.stat().st_size, file.stem))
    return [file.stem for file in files]


def card(name: str) -> dict[str, Any]:
    """What is known about a model."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content


def located(weights: Path | str) -> Path:
    """The file of weights that is meant: one that exists as it is named, else a model of that name, else as named."""
    path = Path(weights).expanduser()
    if path.exists() or str(weights) not in names():
        return path
    return FOLDER / f"{weights}.safetensors"
