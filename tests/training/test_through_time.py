"""One crop at every validation, kept for the report."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from paragonsr.config import load_config
from paragonsr.data.images import read_image
from paragonsr.training.reporting.through_time import FOLDER, kept_crops
from paragonsr.training.run import train

Configure = Callable[..., Path]


def test_a_crop_is_kept_at_every_validation(tiny_config: Configure, photographs: Callable[..., Path]) -> None:
    photographs("large", 2, height=200, width=208)
    path = tiny_config({"train.total_iter": 30, "val.val_freq": 10})
    folder = train(load_config(path, [f"datasets.val.dataroot_gt={path.parent / 'large'}"]).config).folder
    names = sorted(file.name for file in (folder / FOLDER).iterdir())
    assert names == ["0000010.png", "0000020.png", "0000030.png", "HR.png", "bicubic.png"]
    hr = read_image(folder / FOLDER / "HR.png")
    assert hr.shape == (96, 96, 3)
    crops = dict(kept_crops(folder, most=2))
    assert list(crops) == ["bicubic", "iteration 10", "iteration 30", "HR"]
    assert not np.array_equal(crops["iteration 10"], crops["iteration 30"])
    whole = read_image(next(iter(sorted((path.parent / "large").iterdir()))))
    windows = np.lib.stride_tricks.sliding_window_view(whole, hr.shape)[::2, ::2, 0]
    assert (windows == hr).all(axis=(2, 3, 4)).any(), "it is a part of the first image"


def test_where_nothing_was_kept_there_is_nothing(tmp_path: Path) -> None:
    assert kept_crops(tmp_path, most=4) == []
