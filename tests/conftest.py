"""Fixtures that several rooms' tests share."""

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs and published weights beside the checkout; absent on most machines."""
    folder = Path(os.environ.get("PARAGONSR_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the shared data folder (photographs, published weights); {folder} has none")
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
