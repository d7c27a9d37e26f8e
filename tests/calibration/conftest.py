"""Pictures that a calibration can be tested on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paragonsr.calibration import calibrate as module
from paragonsr.data.images import write_png
from paragonsr.degradation.base import Image
from paragonsr.degradation.pipeline import PipelineOptions

TO_LR: dict[str, Any] = {"type": "to_lr", "filters": {"bicubic": 1.0}}


def picture(number: int, side: int = 512) -> Image:
    """Shapes with sharp edges on gradients and texture."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:side, :side].astype(np.float64)
    image = np.stack([128 + 60 * np.sin((x * a + y * b) / 90) for a, b in random.uniform(-1, 1, (3, 2))], axis=-1)
    for _ in range(60):
        cy, cx, radius = (*random.uniform(0, side, 2).tolist(), random.uniform(5, 70))
        inside = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        wave = 1 + 0.3 * np.sin(x * random.uniform(0.2, 1.5) + y * random.uniform(0.2, 1.5))
        image[inside] = (random.uniform(20, 235, 3) * wave[..., None])[inside]
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def degraded(steps: list[dict[str, Any]], image: Image, sample: int = 0) -> Image:
    """The image after the steps of a pipeline, x2."""
    return PipelineOptions.model_validate({"steps": steps}).build(scale=2, seed=5).degrade(image, sample)  # type: ignore[return-value,union-attr]


def write_folders(folder: Path, steps: list[dict[str, Any]], count: int, side: int = 512) -> tuple[Path, Path]:
    """Folders of bad and of HR images, which do not show the same."""
    for number in range(count):
        write_png(folder / "bad" / f"{number:02}.png", degraded(steps, picture(100 + number, side), number))
        write_png(folder / "hr" / f"{number:02}.png", picture(number, side))
    return folder / "bad", folder / "hr"


@pytest.fixture
def few_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few that only the way is tested, not what is found."""
    monkeypatch.setattr(module, "ROUNDS", ((60, 0.02), (30, 0.008)))
    monkeypatch.setattr(module, "CHECKED", 20)
