"""Noise, sharpening, quantisation and chroma: each against a case that can be computed by hand."""

from typing import Any

import numpy as np
import pytest

from paragonsr.degradation.chroma import Chroma, ChromaOptions
from paragonsr.degradation.colour import from_linear, from_ycbcr, to_linear, to_ycbcr
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.noise import (
    GaussianNoise,
    GaussianNoiseOptions,
    PoissonNoise,
    PoissonNoiseOptions,
    SensorNoise,
    SensorNoiseOptions,
)
from paragonsr.degradation.options import StepOptions
from paragonsr.degradation.quantise import Quantise, QuantiseOptions, bayer
from paragonsr.degradation.sharpen import Sharpen, SharpenOptions, ThickLines, ThickLinesOptions
from paragonsr.degradation.step import Step, Target

TARGET = Target(16, 16, 4)
COLOUR = (100.0, 150.0, 60.0)


def _flat(side: int = 400) -> np.ndarray:
    return np.ones((3, side, side), np.float32) * np.array(COLOUR, np.float32)[:, None, None]


def _noise(step: Step[Any]) -> np.ndarray:
    image = _flat()
    noisy, _ = step.apply(image, Draws(0, 1, 2), TARGET)
    assert noisy.dtype == np.float32
    np.testing.assert_array_equal(image, _flat())
    return (noisy - image).astype(np.float64)


def test_gaussian_noise_has_the_stated_variance_and_independent_channels() -> None:
    noise = _noise(GaussianNoise(GaussianNoiseOptions(sigma=[7, 7], gray_prob=0)))
    assert noise.var(axis=(1, 2)) == pytest.approx([49] * 3, rel=0.01)
    assert np.abs(np.corrcoef(noise.reshape(3, -1)) - np.eye(3)).max() < 0.01


def test_grey_noise_is_the_same_in_all_channels() -> None:
    for step in (
        GaussianNoise(GaussianNoiseOptions(sigma=[7, 7], gray_prob=1)),
        PoissonNoise(PoissonNoiseOptions(scale=[2, 2], gray_prob=1)),
    ):
        noise = _noise(step)
        np.testing.assert_allclose(noise[0], noise[1], atol=2e-5)
        np.testing.assert_allclose(noise[0], noise[2], atol=2e-5)


def test_poisson_noise_has_the_stated_variance() -> None:
    noise = _noise(PoissonNoise(PoissonNoiseOptions(scale=[1.5, 1.5], gray_prob=0)))
    assert noise.var(axis=(1, 2)) == pytest.approx([2.25 * level for level in COLOUR], rel=0.015)
    grey = _noise(PoissonNoise(PoissonNoiseOptions(scale=[1.5, 1.5], gray_prob=1)))
    level = 0.299 * COLOUR[0] + 0.587 * COLOUR[1] + 0.114 * COLOUR[2]
    assert grey.var() == pytest.approx(2.25 * level, rel=0.015)


def test_sensor_noise_has_the_stated_variance_in_linear_light() -> None:
    step = SensorNoise(SensorNoiseOptions(shot=1e-4, read=2e-3, red_gain=2.0, blue_gain=1.5))
    noisy, _ = step.apply(_flat(), Draws(0, 1), TARGET)
    linear, before = to_linear(noisy), to_linear(_flat(1))[:, 0, 0]
    gains = np.array([2.0, 1.0, 1.5])
    expected = gains**2 * (1e-4 * before / gains + 4e-6)
    assert linear.astype(np.float64).var(axis=(1, 2)) == pytest.approx(expected, rel=0.02)


def test_no_noise_is_no_change() -> None:
    assert not _noise(GaussianNoise(GaussianNoiseOptions(sigma=0))).any()
    assert not _noise(PoissonNoise(PoissonNoiseOptions(scale=0))).any()


def test_sharpening_an_edge_makes_halos_of_the_stated_height() -> None:
    image = np.full((3, 41, 60), 50, np.float32)
    image[..., 30:] = 150
    sharp, _ = Sharpen(SharpenOptions(amount=0.8, sigma=2)).apply(image, Draws(0, 0), TARGET)
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2.0) ** 2)
    kernel /= kernel.sum()
    blurred = 50 + 100 * kernel[:6].sum()  # of the last dark pixel: the share of the kernel on the bright side
    assert sharp[0, 20, 29] == pytest.approx(50 + 0.8 * (50 - blurred), abs=1e-3)
    assert sharp[0, 20, 10] == pytest.approx(50, abs=1e-3)


def test_a_threshold_leaves_small_differences_alone() -> None:
    image = np.full((3, 41, 60), 50, np.float32)
    image[..., 30:] = 60
    same, _ = Sharpen(SharpenOptions(amount=2, sigma=2, threshold=10)).apply(image, Draws(0, 0), TARGET)
    np.testing.assert_allclose(same, image, atol=1e-3)
    image[..., 30:] = 150
    other, _ = Sharpen(SharpenOptions(amount=2, sigma=2, threshold=10)).apply(image, Draws(0, 0), TARGET)
    assert other[0, 20, 29] < 30


def test_thick_lines() -> None:
    image = np.full((3, 5, 5), 100, np.float32)
    image[:, :, 2] = 20
    thick, _ = ThickLines(ThickLinesOptions()).apply(image, Draws(0, 0), TARGET)
    assert thick[0, 2].tolist() == [100, 80, 20, 80, 100]


def test_quantisation_has_the_stated_levels() -> None:
    ramp = np.tile(np.linspace(0, 255, 256, dtype=np.float32), (3, 4, 1))
    banded, drawn = Quantise(QuantiseOptions(levels=6, dither={"none": 1})).apply(ramp, Draws(0, 0), TARGET)
    assert np.unique(banded).tolist() == [0, 51, 102, 153, 204, 255]
    assert np.abs(banded - ramp).max() <= 25.5
    assert drawn == {"levels": 6, "dither": "none"}


@pytest.mark.parametrize("dither", ["ordered", "noise"])
def test_dither_keeps_the_mean(dither: Any) -> None:
    image = np.full((3, 256, 256), 100, np.float32)
    result, _ = Quantise(QuantiseOptions(levels=6, dither={dither: 1})).apply(image, Draws(0, 0), TARGET)
    assert np.unique(result).tolist() == [51 * 1, 51 * 2]
    assert result.mean() == pytest.approx(100, abs=0.5)


def test_the_bayer_matrix() -> None:
    assert bayer().mean() == 0
    order = np.argsort(bayer().ravel())
    assert order[:4].tolist() == [0, 36, 4, 32]


def test_colour_spaces() -> None:
    random = np.random.default_rng(0).uniform(0, 255, (3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(from_ycbcr(to_ycbcr(random)), random, atol=1e-3)
    np.testing.assert_allclose(from_linear(to_linear(random)), random, atol=1e-3)
    grey = np.full((3, 2, 2), 90, np.float32)
    np.testing.assert_allclose(to_ycbcr(grey)[:, 0, 0], [90, 128, 128], rtol=1e-5)
    red = np.array([255, 0, 0], np.float32)[:, None, None]
    np.testing.assert_allclose(to_ycbcr(red)[:, 0, 0], [76.245, 84.97232, 255.5], rtol=1e-5)
    assert to_linear(np.full((3, 1, 1), 188, np.float32))[0, 0, 0] == pytest.approx(0.5029, abs=1e-4)


@pytest.mark.parametrize(("scheme", "down", "across"), [("422", 1, 2), ("420", 2, 2), ("411", 1, 4), ("410", 4, 4)])
def test_chroma_is_the_mean_over_blocks_and_luma_is_kept(scheme: Any, down: int, across: int) -> None:
    image = np.random.default_rng(0).uniform(60, 190, (3, 16, 24)).astype(np.float32)
    step = Chroma(ChromaOptions(subsampling={scheme: 1}, interpolation={"nearest": 1}))
    result, _ = step.apply(image, Draws(0, 0), TARGET)
    before, after = to_ycbcr(image), to_ycbcr(result)
    np.testing.assert_allclose(after[0], before[0], atol=1e-3)
    blocks = before[1:].reshape(2, 16 // down, down, 24 // across, across).mean(axis=(2, 4))
    np.testing.assert_allclose(after[1:, ::down, ::across], blocks, atol=1e-3)
    np.testing.assert_allclose(after[1:, down - 1 :: down, across - 1 :: across], blocks, atol=1e-3)


def test_chroma_of_odd_sizes() -> None:
    step = Chroma(ChromaOptions(subsampling={"410": 1}, interpolation={"bilinear": 1}))
    image = np.full((3, 7, 5), 100, np.float32)
    np.testing.assert_allclose(step.apply(image, Draws(0, 0), TARGET)[0], image, atol=1e-3)


def test_the_probability_of_a_step() -> None:
    from paragonsr.degradation.step import run

    steps: list[Step[StepOptions]] = [GaussianNoise(GaussianNoiseOptions(prob=0.3))]  # type: ignore[list-item]
    image = _flat(2)
    applied = sum(bool(run(steps, image, Draws(0, sample), TARGET)[1]) for sample in range(2000))
    assert abs(applied - 600) < 4 * np.sqrt(2000 * 0.3 * 0.7)
