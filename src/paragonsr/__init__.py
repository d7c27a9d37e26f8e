"""Paragon: training, proving and using networks for single-image super-resolution."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["load"]

if TYPE_CHECKING:
    from paragonsr.inference.model import load


def __getattr__(name: str) -> Any:
    """`load` brings torch along, which takes seconds to import: only when it is wanted."""
    if name == "load":
        from paragonsr.inference.model import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
