"""A server with two small models in its folder."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from paragonsr.archs.classic_options import NanoOptions
from paragonsr.archs.weights import save_metadata, save_weights
from paragonsr.serve.models import Models
from paragonsr.serve.server import Limits, Server


def write_model(path: Path, scale: int = 2) -> None:
    """A network with random weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = NanoOptions(num_feat=4, num_blocks=1)
    save_weights(path, options.build(scale=scale).state_dict(), save_metadata(options, scale))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A typical folder of models: a run, a file next to it, a resume state, a text."""
    models = tmp_path / "models of mine"
    write_model(models / "run" / "models" / "best.safetensors")
    write_model(models / "x3.safetensors", scale=3)
    write_model(models / "run" / "training_states" / "autosave.safetensors")
    (models / "notes.txt").write_text("none")
    return models


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    """A running server with small limits."""
    with Server(Models(folder, device="cpu"), limits=Limits(upload=200_000, pixels=40_000, waiting=1)) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()
