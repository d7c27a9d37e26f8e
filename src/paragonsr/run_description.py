"""run.json, the description of a run: written during training, read by everything that inspects runs."""

import json
from pathlib import Path
from typing import Any

from paragonsr.errors import UserError
from paragonsr.files import write_atomically

NAME = "run.json"
FORMAT = 2
"""Format version of run.json and of the records in its folder (journal, observations, validations)."""
REQUIRED = ("config", "environment", "data", "parameters", "state")
"""Keys that every description has."""


def has_description(folder: Path) -> bool:
    """Whether a folder is the folder of a run."""
    return (folder / NAME).is_file()


def read_description(folder: Path) -> dict[str, Any]:
    """Read and check run.json.

    Raises:
        UserError: the file is missing, damaged, or of another version.
    """
    file = folder / NAME
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("not the folder of a run", where=str(folder), fix="Give experiments/<name>.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"is damaged: {error}", where=str(file), fix=_FIX) from None
    if not isinstance(description, dict):
        raise UserError("is not a mapping of keys to values", where=str(file), fix=_FIX)
    if description.get("format") != FORMAT:
        raise UserError(
            f"was written in format {description.get('format', 1)}, this version of paragonsr reads format {FORMAT}",
            where=str(file),
            fix="Read it with the version that wrote it. Its weights can be loaded with this version.",
        )
    missing = [key for key in REQUIRED if key not in description]
    if missing:
        raise UserError(f"has no {', '.join(missing)}", where=str(file), fix=_FIX)
    return description


_FIX = "Repair it, or start over with --fresh (the old folder is archived)."


def write_description(folder: Path, description: dict[str, Any]) -> None:
    """Replace run.json."""
    text = json.dumps({"format": FORMAT} | description, indent=2) + "\n"
    write_atomically(folder / NAME, text.encode())
