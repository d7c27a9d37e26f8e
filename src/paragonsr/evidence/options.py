"""Options of a comparison."""

from enum import StrEnum


class Kind(StrEnum):
    """Kinds of keys in which arms may differ only if this is allowed explicitly."""

    DATA = "data"
    VALIDATION = "validation"
