"""Models bundled with the package: weights, ONNX files and cards.

    <name>.safetensors   fp16 weights that describe their network
    <name>.onnx          the same network for other programs
    <name>.json          the card: training data and settings, metric values, licence

Every command or key that accepts a weights file also accepts the name of one of these.
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
    """Card of a model."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content


def located(weights: Path | str) -> Path:
    """Resolve a weights argument: an existing file, else the bundled model of that name, else the path as given."""
    path = Path(weights).expanduser()
    if path.exists() or str(weights) not in names():
        return path
    return FOLDER / f"{weights}.safetensors"
