"""Configurations that come with the package: the demo's, and the one for a folder of photographs."""

from pathlib import Path

DEMO = Path(__file__).with_name("demo.yml")
"""The configuration of `paragonsr demo`."""
