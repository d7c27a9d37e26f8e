"""The name by which a logger's service knows a run."""

import secrets
from pathlib import Path


def run_id(file: Path, resumed: bool) -> str:
    """The id in a file of the run's folder; a new one is made and written there unless the run is resumed.

    Args:
        file: where the id is kept.
        resumed: whether the run continues an earlier session.
    """
    if resumed and file.exists():
        return file.read_text().strip()
    made = secrets.token_hex(4)
    file.write_text(made)
    return made
