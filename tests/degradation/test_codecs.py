"""Codecs: what is in the bytes, colours, determinism, and the shifted grid."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from paragonsr.degradation.draws import Draws
from paragonsr.degradation.image_codecs import JPEG, JPEGOptions, jpeg_bytes
from paragonsr.degradation.options import StepOptions
from paragonsr.degradation.step import Target, to_bytes, to_planes

TARGET = Target(16, 16, 4)
INSTALLED = ["jpeg", "webp", "avif", "h264", "h265", "mpeg2", "vp9"]
LUMINANCE = [16, 11, 10, 16, 24, 40, 51, 61]
"""First row of the table of Annex K of the JPEG standard."""


def _photograph(height: int = 70, width: int = 91) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / 16
    random = np.random.default_rng(0)
    waves = [np.sin(x * a + y * b) for a, b in ((1.0, 0.3), (0.2, 1.7), (0.8, -0.9))]
    image = np.stack(waves, axis=-1) * 60 + 120 + 80 * (x + y > 4)[..., None] - 40
    return np.clip(image + random.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 95])
def test_the_quality_of_a_jpeg_is_in_its_quantisation_tables(quality: int) -> None:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    expected = [max(1, min(255, (entry * scale + 50) // 100)) for entry in LUMINANCE]
    file: Any = Image.open(io.BytesIO(jpeg_bytes(_photograph(), quality, "420")))
    assert file.quantization[0][:8] == expected


@pytest.mark.parametrize(("subsampling", "factors"), [("444", (1, 1)), ("422", (2, 1)), ("420", (2, 2))])
def test_the_subsampling_of_a_jpeg_is_in_its_header(subsampling: Any, factors: tuple[int, int]) -> None:
    file: Any = Image.open(io.BytesIO(jpeg_bytes(_photograph(), 80, subsampling)))
    assert file.layer[0][1:3] == factors


def test_the_step_gives_what_the_file_shows() -> None:
    image = _photograph()
    step = JPEG(JPEGOptions(quality=40, subsampling={"422": 1}))
    result, drawn = step.apply(to_planes(image), Draws(0, 0), TARGET)
    shown = np.asarray(Image.open(io.BytesIO(jpeg_bytes(image, 40, "422"))))
    np.testing.assert_array_equal(to_bytes(result), shown)
    assert drawn == {"quality": 40, "subsampling": "422"}


@pytest.mark.parametrize("name", INSTALLED)
def test_a_round_trip_is_deterministic_and_close(name: str) -> None:
    kind = StepOptions.choose(name)
    assert kind is not None
    image = to_planes(_photograph())
    first, drawn = kind().build().apply(image, Draws(0, 5, 0), TARGET)
    again, _ = kind().build().apply(image, Draws(0, 5, 0), TARGET)
    np.testing.assert_array_equal(first, again)
    assert first.shape == image.shape
    assert set(drawn) & {"quality", "qp"}
    error = float(((first - image) ** 2).mean())
    assert 1 < error < 65025 / 10**2.4, "worse than 24 dB, or no loss at all"


@pytest.mark.parametrize("name", INSTALLED)
def test_a_worse_quality_is_worse(name: str) -> None:
    kind: Any = StepOptions.choose(name)
    image = to_planes(_photograph())
    good, bad = ({"quality": 90}, {"quality": 15}) if "quality" in kind.model_fields else ({"qp": 8}, {"qp": 28})
    errors = [((kind(**of).build().apply(image, Draws(0, 0), TARGET)[0] - image) ** 2).mean() for of in (good, bad)]
    assert errors[0] * 2 < errors[1]


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("size", [(1, 1), (17, 33), (64, 48)])
def test_a_flat_colour_keeps_its_colour_at_any_size(name: str, size: tuple[int, int]) -> None:
    kind: Any = StepOptions.choose(name)
    options = kind(quality=90) if "quality" in kind.model_fields else kind(qp=4)
    colour = np.array([200, 60, 90], np.float32)[:, None, None]
    image = np.broadcast_to(colour, (3, *size)).copy()
    result, _ = options.build().apply(image, Draws(0, 0), TARGET)
    assert result.shape == image.shape
    assert np.abs(result - image).max() <= 5


def test_a_shifted_grid_moves_the_blocks() -> None:
    image = to_planes(_photograph(96, 96))
    step = JPEG(JPEGOptions(quality=10, shift_prob=1.0, subsampling={"444": 1}))
    for sample in range(4):
        result, drawn = step.apply(image, Draws(0, sample), TARGET)
        steps = np.abs(np.diff(result[0], axis=1)).mean(axis=0)
        by_column = [steps[phase::8].mean() for phase in range(8)]
        # A step between columns k and k + 1 stands before column k + 1 of a block.
        assert int(np.argmax(by_column)) == (7 - int(drawn["shift_x"])) % 8


def test_saving_several_times_draws_anew_each_time() -> None:
    step = JPEG(JPEGOptions(times=3, shift_prob=1.0))
    _, drawn = step.apply(to_planes(_photograph()), Draws(0, 1), TARGET)
    assert len({drawn["quality"], drawn["quality_2"], drawn["quality_3"]}) == 3
    assert {"shift_x", "shift_y_2", "subsampling_3"} <= drawn.keys()
