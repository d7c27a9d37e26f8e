"""Options of a comparison."""

from enum import StrEnum


class Kind(StrEnum):
    """Keys in which the arms of a comparison may differ only where it is allowed explicitly."""

    DATA = "data"
    VALIDATION = "validation"
