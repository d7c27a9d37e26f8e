"""What a comparison can be told."""

from enum import StrEnum


class Kind(StrEnum):
    """In what the arms of a comparison may only differ when that is the point of it."""

    DATA = "data"
    VALIDATION = "validation"
