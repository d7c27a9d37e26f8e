"""Bundled configurations: for the demo, and for a folder of photographs."""

from pathlib import Path

DEMO = Path(__file__).with_name("demo.yml")
"""Configuration of `paragonsr demo`."""
