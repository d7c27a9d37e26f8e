"""Models bundled with the package: weights, ONNX files and cards.

    <name>.safetensors   fp16 weights that describe their network
    <name>.onnx          the same network for other programs
    <name>.json          the card: training data and settings, metric values, licence

Every command or key that accepts a weights file also accepts the name of one of these, or the folder of a run.
"""

import json
from pathlib import Path
from typing import Any

from paragonsr.run_description import has_description

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
    """Resolve a weights argument to a file.

    The folder of a run stands for its best weights (the last ones if there are no best); otherwise it is an existing
    file, a bundled model of that name, or the path as given.
    """
    path = Path(weights).expanduser()
    if has_description(path):
        return _of_run(path)
    if path.exists() or str(weights) not in names():
        return path
    return FOLDER / f"{weights}.safetensors"


def _of_run(folder: Path) -> Path:
    """The weights of a run; best.safetensors also where there are none yet, so that the message names it."""
    best = folder / "models" / "best.safetensors"
    if best.is_file():
        return best
    saved = [file for file in best.parent.glob("*_*.safetensors") if file.stem.rpartition("_")[2].isdecimal()]
    return max(saved, key=lambda file: int(file.stem.rpartition("_")[2]), default=best)
