"""Small photographs, and a crew that works in the test's own process."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from paragonsr.curation.cluster import Crew


class AtHome(Crew):
    """Does the work immediately, in this process."""

    def __init__(self) -> None:
        self._client, self._scheduler = None, None

    @property
    def size(self) -> int:
        return 2

    def submit(self, work: Callable[[Sequence[Any]], Any], items: Sequence[Any]) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(items))
        except BaseException as error:
            future.set_exception(error)
        return future

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def crew() -> AtHome:
    """A crew without processes."""
    return AtHome()


def photograph(seed: int, height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """Shading, an edge and texture of random strength: h x w x 3 uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 24
    image = 60 * np.sin(x * random.uniform(0.3, 3) + y * random.uniform(0.3, 3) + random.uniform(0, 6))[..., None]
    image = image + 50 * (x * random.uniform(0.5, 2) > y + random.uniform(-2, 3))[..., None] * random.uniform(-1, 1, 3)
    image = image + random.normal(0, random.uniform(0, 25), (height, width, 1))
    return np.clip(128 + image, 0, 255).astype(np.uint8)


def write_photographs(folder: Path, count: int, height: int = 96, width: int = 128) -> Path:
    """photo_00.png ... in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        Image.fromarray(photograph(seed, height, width)).save(folder / f"photo_{seed:02d}.png")
    return folder


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """write(folder, 5, height=96, width=128) writes five photographs and gives their folder."""
    return write_photographs


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """photos(5) writes five photographs of 96 x 128 and gives their folder."""
    return lambda count, name="photographs", **size: write_photographs(tmp_path / name, count, **size)
