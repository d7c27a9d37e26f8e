"""Paragon: training, proving and using networks for single-image super-resolution."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["UserError", "load", "load_config", "psnr", "ssim", "train"]

if TYPE_CHECKING:
    from paragonsr.config.load import load_config
    from paragonsr.errors import UserError
    from paragonsr.inference.model import load
    from paragonsr.metrics.psnr import psnr
    from paragonsr.metrics.ssim import ssim
    from paragonsr.training.run import train

_HOMES = {
    "UserError": "paragonsr.errors",
    "load": "paragonsr.inference.model",
    "load_config": "paragonsr.config.load",
    "psnr": "paragonsr.metrics.psnr",
    "ssim": "paragonsr.metrics.ssim",
    "train": "paragonsr.training.run",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: most of it brings torch along, which takes seconds."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
