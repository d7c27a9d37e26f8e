"""Resizing: sizes, filters, and equality with the project's bicubic resize."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from paragonsr.degradation.draws import Draws
from paragonsr.degradation.pipeline import PipelineOptions
from paragonsr.degradation.resize import Resize, ResizeOptions, ToLR, ToLROptions, resized
from paragonsr.degradation.step import Target, to_bytes, to_planes
from paragonsr.resize import resize

TARGET = Target(16, 18, 4)


@pytest.fixture
def hr() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 72, 3), dtype=np.uint8)


def test_without_steps_it_is_the_matlab_resize(hr: np.ndarray) -> None:
    pipeline = PipelineOptions().build(scale=4, seed=0)
    np.testing.assert_array_equal(pipeline.degrade(hr, 3), resize(hr, (16, 18)))  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [(16, 18), (100, 33), (64, 72)])
def test_bicubic_equals_the_matlab_resize_but_for_its_rounding(hr: np.ndarray, size: tuple[int, int]) -> None:
    hr = hr // 2 + 64  # without overshoot, which MATLAB clips after each pass
    difference = to_bytes(resized(to_planes(hr), *size, "bicubic")).astype(int) - resize(hr, size)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("name", "of_pillow"), [("lanczos", "LANCZOS"), ("bilinear", "BILINEAR"), ("bicubic", "BICUBIC")]
)
def test_filters_against_pillow_away_from_the_borders(hr: np.ndarray, name: Any, of_pillow: str) -> None:
    plane = hr[..., 0].astype(np.float32)
    pillow = np.asarray(Image.fromarray(plane).resize((36, 24), Image.Resampling[name.upper()]))
    ours = resized(np.stack([plane] * 3), 24, 36, name)[0]
    np.testing.assert_allclose(ours[9:-9, 9:-9], pillow[9:-9, 9:-9], atol=0.02)


def test_area_is_the_mean_over_the_pixels_area(hr: np.ndarray) -> None:
    planes = to_planes(hr)
    blocks = planes.reshape(3, 16, 4, 18, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(resized(planes, 16, 18, "area"), blocks, rtol=1e-5)
    line = np.tile(np.array([0, 10, 40], np.float32), (3, 1, 1))
    np.testing.assert_allclose(resized(line, 1, 2, "area")[0, 0], [10 / 3, 30], rtol=1e-6)


def test_nearest_takes_the_nearest_pixel() -> None:
    line = np.tile(np.arange(6, dtype=np.float32), (3, 1, 1))
    assert resized(line, 1, 3, "nearest")[0, 0].tolist() == [1, 3, 5]
    assert resized(line, 1, 12, "nearest")[0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_a_shift_by_a_whole_pixel_moves_the_image(hr: np.ndarray, name: Any) -> None:
    planes = to_planes(hr)
    moved = resized(planes, 64, 72, name, shift=(1.0, -2.0))
    np.testing.assert_allclose(moved[:, 4:-4, 4:-4], planes[:, 5:-3, 2:-6], atol=1e-3)


def test_without_antialiasing_a_filter_reads_its_own_width_only(hr: np.ndarray) -> None:
    planes = to_planes(hr)
    narrow = resized(planes, 16, 18, "bilinear", antialias=False)
    np.testing.assert_allclose(narrow, planes.reshape(3, 16, 4, 18, 4)[:, :, 1:3, :, 1:3].mean(axis=(2, 4)), rtol=1e-5)


def test_directions_and_factors(hr: np.ndarray) -> None:
    step = Resize(ResizeOptions(direction={"up": 1, "down": 2, "keep": 1}, factor=[0.5, 1.5]))
    seen: dict[Any, list[float]] = {"up": [], "down": [], "keep": []}
    for sample in range(200):
        result, drawn = step.apply(to_planes(hr), Draws(0, sample), TARGET)
        factor = float(drawn.get("factor", 1.0))
        assert result.shape == (3, round(64 * factor), round(72 * factor))
        seen[drawn["direction"]].append(factor)
    assert 80 <= len(seen["down"]) <= 120
    assert all(0.5 <= factor <= 1 for factor in seen["down"])
    assert all(1 <= factor <= 1.5 for factor in seen["up"])


def test_factors_relative_to_the_lr_image_and_the_exact_size(hr: np.ndarray) -> None:
    half = Resize(ResizeOptions(direction={"down": 1}, factor=[0.5, 0.5], relative_to="lr"))
    small, _ = half.apply(to_planes(hr), Draws(0, 0), TARGET)
    assert small.shape == (3, 8, 9)
    exact, drawn = ToLR(ToLROptions(phase=0.5)).apply(small, Draws(0, 0), TARGET)
    assert exact.shape == (3, 16, 18)
    assert abs(float(drawn["shift_y"])) <= 0.5
