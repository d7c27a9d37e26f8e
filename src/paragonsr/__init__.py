"""Paragon: training, proving and using networks for single-image super-resolution."""

__version__ = "0.1.0"
