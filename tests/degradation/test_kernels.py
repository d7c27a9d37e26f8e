"""Blur: each kernel against its formula, and the image of an impulse against the kernel."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

from paragonsr.degradation import kernels
from paragonsr.degradation.blur import Blur, BlurOptions
from paragonsr.degradation.convolution import convolved
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.step import Target

TARGET = Target(16, 16, 4)
SHAPES = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso", "sinc", "motion"]


@pytest.mark.parametrize("shape", [*SHAPES, "defocus"])
def test_an_impulse_becomes_the_kernel(shape: Any) -> None:
    blur = Blur(BlurOptions(kernels={shape: 1.0}))
    image = np.zeros((3, 61, 63), np.float32)
    image[:, 30, 31] = 200
    blurred, _ = blur.apply(image, Draws(1, 2, 3), TARGET)
    kernel, _ = blur.kernel(Draws(1, 2, 3))
    half = len(kernel) // 2
    expected = np.zeros((61, 63))
    expected[30 - half : 31 + half, 31 - half : 32 + half] = 200 * kernel
    np.testing.assert_allclose(blurred, np.stack([expected] * 3), atol=2e-5)


@pytest.mark.parametrize("shape", [*SHAPES, "defocus"])
def test_every_kernel_has_sum_one_and_is_symmetric(shape: Any) -> None:
    blur = Blur(BlurOptions(kernels={shape: 1.0}))
    for sample in range(50):
        kernel, _ = blur.kernel(Draws(0, sample))
        assert kernel.sum() == pytest.approx(1)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
        assert len(kernel) % 2 == 1


def test_gaussian_moments() -> None:
    kernel = kernels.gaussian(41, (3.0, 1.5), math.pi / 6)
    y, x = np.mgrid[-20:21, -20:21]
    covariance = [(kernel * x * x).sum(), (kernel * x * y).sum(), (kernel * y * y).sum()]
    c, s = math.cos(math.pi / 6), math.sin(math.pi / 6)
    assert covariance == pytest.approx(
        [9 * c * c + 2.25 * s * s, (9 - 2.25) * c * s, 9 * s * s + 2.25 * c * c], rel=1e-6
    )


def test_other_formulas_by_hand() -> None:
    # Next to the centre, with sigma 1: q = 1, in the corner: q = 2.
    generalised, plateau = kernels.generalised(3, (1, 1), 0, 2.0), kernels.plateau(3, (1, 1), 0, 2.0)
    assert generalised[1, 0] / generalised[1, 1] == pytest.approx(math.exp(-0.5))
    assert generalised[0, 0] / generalised[1, 1] == pytest.approx(math.exp(-2))
    assert plateau[1, 0] / plateau[1, 1] == pytest.approx(1 / 2)
    assert plateau[0, 0] / plateau[1, 1] == pytest.approx(1 / 5)


@pytest.mark.parametrize(("size", "cutoff"), [(7, math.pi / 3), (21, 1.0), (99, math.pi)])
def test_sinc_against_scipys_bessel_function(size: int, cutoff: float) -> None:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    r = np.hypot(x, y)
    r[size // 2, size // 2] = 1
    expected = cutoff * special.j1(cutoff * r) / (2 * np.pi * r)
    expected[size // 2, size // 2] = cutoff**2 / (4 * np.pi)
    np.testing.assert_allclose(kernels.sinc(size, cutoff), expected / expected.sum(), atol=1e-12)


def test_motion_and_defocus() -> None:
    np.testing.assert_allclose(kernels.motion(4, 0)[3 - 1], np.array([0.5, 1, 1, 1, 0.5]) / 4)
    assert kernels.motion(0, 1.0) == pytest.approx(np.ones((1, 1)))
    disc = kernels.defocus(5.0)
    y, x = np.mgrid[-5:6, -5:6]
    assert disc[5, 5] == pytest.approx(1 / (math.pi * 25), rel=0.03)
    assert (disc * (x * x + y * y)).sum() == pytest.approx(25 / 2, rel=0.03)
    assert kernels.defocus(0.0) == pytest.approx(np.ones((1, 1)))


def _symmetric(random: np.random.Generator) -> np.ndarray:
    kernel = random.uniform(0, 1, (7, 7))
    return kernel + kernel[::-1, ::-1]


def _product(random: np.random.Generator) -> np.ndarray:
    column, row = random.uniform(0, 1, (2, 4))
    return np.outer([*column, *column[2::-1]], [*row, *row[2::-1]])


@pytest.mark.parametrize("make", [_symmetric, _product])
@pytest.mark.parametrize(("height", "width"), [(9, 14), (31, 33), (32, 64), (33, 65)])  # around blocks of 32 sums
def test_convolution_against_sums_with_mirrored_borders(
    make: Callable[[np.random.Generator], np.ndarray], height: int, width: int
) -> None:
    random = np.random.default_rng(0)
    image, kernel = random.uniform(0, 255, (3, height, width)).astype(np.float32), make(random)
    padded = np.pad(image.astype(np.float64), ((0, 0), (3, 3), (3, 3)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), axis=(1, 2))
    expected = (windows * kernel).sum(axis=(3, 4))
    np.testing.assert_allclose(convolved(image, kernel), expected, rtol=1e-5)


@pytest.mark.parametrize("side", [1, 2, 5])
def test_images_smaller_than_the_kernel(side: int) -> None:
    blurred = convolved(np.full((3, side, side), 77, np.float32), kernels.gaussian(21, (3, 3)))
    np.testing.assert_allclose(blurred, 77, rtol=1e-5)


def test_parameters_stay_in_their_ranges() -> None:
    blur = Blur(BlurOptions(sigma=[0.5, 2], size=[9, 13], beta_generalized=[0.5, 4], beta_plateau=[1, 2]))
    drawn = [blur.kernel(Draws(0, sample))[1] for sample in range(400)]
    assert {values["size"] for values in drawn} == {9, 11, 13}
    assert all(0.5 <= values[name] <= 2 for values in drawn for name in ("sigma", "sigma_y") if name in values)
    betas = [float(values["beta"]) for values in drawn if str(values["kernel"]).startswith("generalized")]
    below = sum(beta < 1 for beta in betas)
    assert abs(below - len(betas) / 2) < 2.6 * math.sqrt(len(betas))
    sinc = Blur(BlurOptions(kernels={"sinc": 1}, size=[7, 7], cutoff=[0.2, 1]))
    assert min(float(sinc.kernel(Draws(0, n))[1]["cutoff"]) for n in range(300)) >= 1 / 3
