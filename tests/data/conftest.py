"""Small image sets with known pixels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from paragonsr.data.options import PairedOptions, SingleOptions

Images = dict[str, NDArray[np.uint8]]
WriteImages = Callable[[str, Images], Path]


def write_images(folder: Path, images: Images) -> Path:
    """Write each array under its name."""
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name)
    return folder


@pytest.fixture
def images(tmp_path: Path) -> WriteImages:
    """images("hr", {"a.png": array}) gives the folder."""
    return lambda folder, content: write_images(tmp_path / folder, content)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Folder for the packed sets of a test."""
    return tmp_path / "cache"


@pytest.fixture
def single(cache: Path) -> Callable[..., SingleOptions]:
    """Options of a set of HR images, packed into `cache`."""
    return lambda folder, **keys: SingleOptions(dataroot_gt=str(folder), store_root=str(cache), **keys)


@pytest.fixture
def paired(cache: Path) -> Callable[..., PairedOptions]:
    """Options of a set of HR and LR images, packed into `cache`."""
    return lambda hr, lr, **keys: PairedOptions(dataroot_gt=str(hr), dataroot_lq=str(lr), store_root=str(cache), **keys)
