"""One crop of a validation image at every validation, for the report: how the SR image changed while training."""

from pathlib import Path

import numpy as np

from paragonsr import resize
from paragonsr.data.images import read_image, write_png
from paragonsr.data.packed import PackedDataset
from paragonsr.loggers.base import Image, Logger
from paragonsr.training.reporting.pictures import CROP, busiest

FOLDER = "visualization/through_time"
"""Folder of the crops in a run's folder: bicubic.png, HR.png, and one named by its iteration for each validation."""


class ThroughTime(Logger):
    """Keeps the crop of the first image of the deciding set where bicubic is furthest from the HR image.

    Args:
        folder: the run's folder.
        store: the deciding validation set.
        scale: HR side / LR side.
    """

    def __init__(self, folder: Path, store: PackedDataset, scale: int) -> None:
        self._folder = folder / FOLDER
        hr = np.array(store.hr(0))
        bicubic = resize.upscale(np.array(store.lq(0)), scale)
        y, x = busiest(bicubic, hr, scale)
        self._crop = np.s_[y : y + CROP, x : x + CROP]
        self._beside = {"bicubic": bicubic[self._crop], "HR": hr[self._crop]}
        self._name: str | None = None

    def observe(self, observation: object) -> None:
        """Values are not drawn."""

    def picture(self, name: str, image: Image, iteration: int) -> None:
        """Keep the crop, if this is the first image of the set."""
        if self._name is None:
            self._name = name
            for what, crop in self._beside.items():
                write_png(self._folder / f"{what}.png", crop)
        if name == self._name:
            write_png(self._folder / f"{iteration:07d}.png", image[self._crop])


def kept_crops(folder: Path, most: int) -> list[tuple[str, Image]]:
    """Crops of a run with their captions: bicubic, the first validation, some evenly chosen ones, the last, and HR.

    Args:
        folder: the run's folder.
        most: largest number of crops of validations.

    Returns:
        caption and picture; empty if the run has kept none.
    """
    files = sorted(file for file in (folder / FOLDER).glob("*.png") if file.stem.isdecimal())
    if not files:
        return []
    chosen = sorted({round(place) for place in np.linspace(0, len(files) - 1, min(most, len(files)))})
    shown = [(f"iteration {int(files[place].stem):,}", files[place]) for place in chosen]
    ends = [(what, folder / FOLDER / f"{what}.png") for what in ("bicubic", "HR")]
    return [(caption, read_image(file)) for caption, file in (ends[0], *shown, ends[1])]
