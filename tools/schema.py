"""Generates options/*.schema.json: JSON schemas for completion and validation of the YAML files in editors.

python -m tools.schema
"""

import json
from pathlib import Path

from pydantic import BaseModel

from paragonsr.config import Config
from paragonsr.curation.options import CurationOptions

ROOT = Path(__file__).parents[1] / "options"
SCHEMAS: dict[str, type[BaseModel]] = {"train": Config, "data": CurationOptions}
"""Folder of options -> model of its files."""


def text(model: type[BaseModel]) -> str:
    """Schema of a model, as JSON text."""
    return json.dumps(model.model_json_schema(), indent=1) + "\n"


def path(folder: str) -> Path:
    """Path of the schema of a folder's files."""
    return ROOT / f"{folder}.schema.json"


if __name__ == "__main__":
    for name, options in SCHEMAS.items():
        path(name).write_text(text(options), encoding="utf-8")
