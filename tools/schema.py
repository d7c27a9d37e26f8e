"""options/*.schema.json: the JSON schemas that editors complete and check the YAML files by.

python -m tools.schema
"""

import json
from pathlib import Path

from pydantic import BaseModel

from paragonsr.config import Config
from paragonsr.curation.options import CurationOptions

ROOT = Path(__file__).parents[1] / "options"
SCHEMAS: dict[str, type[BaseModel]] = {"train": Config, "data": CurationOptions}
"""Folder of options -> what its files are."""


def text(model: type[BaseModel]) -> str:
    """The schema of a model."""
    return json.dumps(model.model_json_schema(), indent=1) + "\n"


def path(folder: str) -> Path:
    """Where the schema of a folder's files lies."""
    return ROOT / f"{folder}.schema.json"


if __name__ == "__main__":
    for name, options in SCHEMAS.items():
        path(name).write_text(text(options), encoding="utf-8")
