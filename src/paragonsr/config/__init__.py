"""Configuration loading: YAML and overrides in, one typed and frozen object out."""

from paragonsr.config.load import load_config
from paragonsr.config.schema import Config

__all__ = ["Config", "load_config"]
