"""Id of a run at a logger's service."""

import secrets
from pathlib import Path


def run_id(file: Path, resumed: bool) -> str:
    """Read the id from a file in the run's folder; unless the run is resumed, create and store a new one.

    Args:
        file: file that stores the id.
        resumed: whether the run continues an earlier session.
    """
    if resumed and file.exists():
        return file.read_text().strip()
    made = secrets.token_hex(4)
    file.write_text(made)
    return made
