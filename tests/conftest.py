"""Fixtures shared by the tests of several packages."""

import os
import signal

# Set before torch is imported, here and in the processes that tests start: the tests are too small for several threads,
# which would only wait for each other on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import settings
from PIL import Image

# Background processes of a shell ignore Ctrl-C, and so do their children; these tests need it to work.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The duration of an example says nothing about its correctness.
settings.register_profile("paragonsr", deadline=None)
settings.load_profile("paragonsr")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real photographs and published weights next to the checkout; absent on most machines."""
    folder = Path(os.environ.get("PARAGONSR_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the shared data folder (photographs, published weights); {folder} has none")
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def make_photographs(folder: Path, count: int, height: int = 64, width: int = 72, seed: int = 0) -> Path:
    """Write small PNG images with smooth shading, edges and a little texture."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[0:height, 0:width] / 32
    for index in range(count):
        phases = random.uniform(0, 6.28, (3, 2))
        image = np.stack([np.sin(3 * x * random.uniform(0.5, 2) + a) * np.cos(2 * y + b) for a, b in phases], axis=-1)
        image += (x + y > random.uniform(1, 3))[..., None] * random.uniform(-1, 1, 3)
        image += random.normal(0, 0.05, image.shape)
        pixels = np.clip(128 + 60 * image, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"photo_{index:02d}.png")
    return folder


@pytest.fixture
def photographs(tmp_path: Path) -> Callable[..., Path]:
    """Writes small photograph-like images: photographs("hr", 4) gives the folder."""
    return lambda name, count, **size: make_photographs(tmp_path / name, count, **size)


def write_tiny_config(folder: Path, changes: dict[str, Any] | None = None, name: str = "tiny") -> Path:
    """Write `<name>.yml`, a training that takes a second or two, and its images into a folder."""
    tree: dict[str, Any] = {
        "name": name,
        "scale": 2,
        "num_gpu": 0,
        "datasets": {
            "train": {
                "type": "singleimagedataset",
                "dataroot_gt": str(make_photographs(folder / "hr", 6)),
                "lq_size": 16,
                "batch_size_per_gpu": 4,
                "num_worker_per_gpu": 1,
                "use_hflip": True,
                "use_rot": True,
            },
            "val": {"type": "singleimagedataset", "dataroot_gt": str(make_photographs(folder / "val", 2, seed=9))},
        },
        "network_g": {"type": "paragonsr2_nano"},
        "path": {"experiments_root": str(folder / "experiments")},
        "train": {
            "total_iter": 12,
            "ema_decay": 0.99,
            "grad_clip": True,
            "observe_every": 4,
            "optim_g": {"type": "AdamW", "lr": 1e-3, "betas": [0.9, 0.99]},
            "losses": [{"type": "l1loss", "loss_weight": 1.0}, {"type": "mseloss", "loss_weight": 0.5}],
        },
        "val": {"val_freq": 6, "metrics": {"psnr": {"type": "psnr_y"}}},
        "logger": {"print_freq": 4, "save_checkpoint_freq": 6},
    }
    for key, value in (changes or {}).items():
        *sections, last = key.split(".")
        here = tree
        for section in sections:
            here = here.setdefault(section, {})
        here[last] = value
    path = folder / f"{name}.yml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def tiny_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a configuration of a training that takes a second or two: tiny_config({"train.total_iter": 8})."""
    monkeypatch.setenv("PARAGONSR_CACHE", str(tmp_path / "cache"))
    return partial(write_tiny_config, tmp_path)


@pytest.fixture(scope="module")
def module_config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """The same, for a run that all tests of a file share."""
    folder = tmp_path_factory.mktemp("module")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARAGONSR_CACHE", str(folder / "cache"))
        yield partial(write_tiny_config, folder)
