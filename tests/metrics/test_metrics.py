"""Exact values by the protocol, properties, and an independent implementation."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.metrics import structural_similarity

from paragonsr.data.images import read_image
from paragonsr.metrics.options import PSNROptions, PSNRYOptions, SSIMOptions, SSIMYOptions
from paragonsr.metrics.protocol import mean_of_images, samples, to_uint8
from paragonsr.metrics.psnr import psnr
from paragonsr.metrics.ssim import STRIP, ssim
from paragonsr.resize import downscale, taps, upscale

images = hnp.arrays(np.uint8, (13, 15, 3))


def _flat(value: int, height: int = 16, width: int = 16) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_psnr_of_a_constant_error() -> None:
    assert psnr(_flat(100), _flat(101)) == pytest.approx(20 * math.log10(255), abs=1e-12)
    assert psnr(_flat(0), _flat(255)) == 0
    # One grey level is 219/255 of a level of Y.
    assert psnr(_flat(100), _flat(101), luma=True) == pytest.approx(20 * math.log10(255 * 255 / 219), abs=1e-9)


def test_y_is_studio_range() -> None:
    levels = [samples(_flat(v), shave=0, luma=True)[0, 0, 0] for v in (0, 255)]
    assert levels == pytest.approx([16, 235])
    red = np.zeros((1, 1, 3), np.uint8)
    red[..., 0] = 255
    assert samples(red, shave=0, luma=True)[0, 0, 0] == pytest.approx(16 + 65.481)


def test_the_border_is_left_out() -> None:
    one, other = _flat(100), _flat(100)
    other[:4] = other[-4:] = other[:, :4] = other[:, -4:] = 255
    assert psnr(one, other, shave=4) == math.inf
    other[4, 4] = 101
    assert psnr(one, other, shave=4) == pytest.approx(10 * math.log10(255**2 * 64), abs=1e-9)
    assert psnr(one, other, shave=3) < 30


def test_ssim_of_constants() -> None:
    c1 = (0.01 * 255) ** 2
    assert ssim(_flat(100), _flat(150)) == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1), abs=1e-9)


def _ssim_by_definition(a: np.ndarray, b: np.ndarray) -> float:
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


@given(images, images)
def test_ssim_is_its_definition(a: np.ndarray, b: np.ndarray) -> None:
    expected = np.mean([_ssim_by_definition(a[..., c].astype(float), b[..., c].astype(float)) for c in range(3)])
    assert ssim(a, b) == pytest.approx(expected, abs=1e-10)


def test_ssim_of_an_image_of_several_strips_is_its_definition() -> None:
    a, b = np.random.default_rng(0).integers(0, 256, (2, 2 * STRIP + 23, 14, 3), dtype=np.uint8)
    expected = np.mean([_ssim_by_definition(a[..., c].astype(float), b[..., c].astype(float)) for c in range(3)])
    assert ssim(a, b) == pytest.approx(expected, abs=1e-12)


def test_ssim_is_the_figure_of_scikit_image() -> None:
    a = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    b = a // 2 + 30
    expected = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2
    )
    assert ssim(a, b) == pytest.approx(expected, abs=1e-12)


@given(images, images, st.booleans())
def test_symmetric_and_best_for_equal_images(a: np.ndarray, b: np.ndarray, luma: bool) -> None:
    assert psnr(a, b, luma=luma) == psnr(b, a, luma=luma)
    assert ssim(a, b, luma=luma) == pytest.approx(ssim(b, a, luma=luma), abs=1e-12)
    assert psnr(a, a, luma=luma) == math.inf
    assert ssim(a, a, luma=luma) == pytest.approx(1)
    assert -1 <= ssim(a, b, luma=luma) <= 1 + 1e-12


@pytest.mark.parametrize("function", [psnr, ssim])
@pytest.mark.parametrize(
    ("sr", "hr"),
    [
        (_flat(1, 12, 12), _flat(1, 12, 13)),
        (_flat(1).astype(np.float32), _flat(1).astype(np.float32)),
        (np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8)),
    ],
)
def test_what_cannot_be_measured_is_refused(function: object, sr: np.ndarray, hr: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"against|uint8"):
        function(sr, hr)  # type: ignore[operator]


def test_images_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="nothing is left of 8 x 16"):
        psnr(_flat(1, 16, 8), _flat(1, 16, 8), shave=4)
    with pytest.raises(ValueError, match="SSIM needs 11 x 11"):
        ssim(_flat(1, 18, 18), _flat(1, 18, 18), shave=4)


def test_rounding_is_half_to_even_and_clamped() -> None:
    levels = torch.tensor([-1.0, 0.5, 1.5, 2.5, 254.5, 300.0])
    image = to_uint8((levels / 255).double().expand(3, 1, 6))
    exact = (levels / 255).float() * 255  # the halves in float32
    assert image.shape == (1, 6, 3)
    assert image[0, :, 0].tolist() == exact.round().clamp(0, 255).tolist()
    assert image[0, 1, 0] == 0
    assert image[0, 3, 0] == 2


def test_mean_leaves_exact_images_out_and_counts_them() -> None:
    assert mean_of_images([30.0, 31.0, 32.0]).value == 31.0
    mixed = mean_of_images([30.0, math.inf, 32.0])
    assert (mixed.value, mixed.exact) == (31.0, 1)
    assert mean_of_images([math.inf]).value == math.inf
    with pytest.raises(ValueError, match="no image"):
        mean_of_images([])


def test_protocol_strings() -> None:
    assert PSNRYOptions().protocol(2) == "psnr_y/crop=2/bt601-studio/uint8/mean-of-images"
    assert SSIMYOptions().protocol(3) == "ssim_y/crop=3/bt601-studio/uint8/mean-of-images"
    assert PSNROptions(crop_border=4).protocol(2) == "psnr/crop=4/rgb/uint8/mean-of-images"
    assert SSIMOptions(crop_border=4, test_y_channel=True).protocol(2) == SSIMYOptions(crop_border=4).protocol(2)


@pytest.mark.parametrize(("options", "expected"), [(PSNROptions, psnr), (SSIMOptions, ssim)])
def test_options_measure_what_they_say(options: type, expected: object) -> None:
    random = np.random.default_rng(0)
    a, b = random.integers(0, 256, (2, 30, 40, 3), dtype=np.uint8)
    assert options(crop_border=4).build(scale=2).measure(a, b) == expected(a, b, shave=4)  # type: ignore[operator]
    assert options().build(scale=3).measure(a, b) == expected(a, b, shave=3)  # type: ignore[operator]
    assert options(test_y_channel=True).build(scale=3).measure(a, b) == expected(a, b, shave=3, luma=True)  # type: ignore[operator]


def _set5(shared: Path) -> list[np.ndarray]:
    return [read_image(path) for path in sorted((shared / "data" / "benchmark" / "Set5" / "HR").iterdir())]


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """imresize on floating-point samples, without rounding in between."""
    for new_length in (height, width):
        indices, weights = taps(len(image), new_length)
        image = np.einsum("nt...,nt->n...", image[indices], weights).swapaxes(0, 1)
    return image


def _psnr(error: np.ndarray) -> float:
    return 10 * math.log10(255**2 / np.square(error).mean())


@pytest.mark.parametrize(
    ("scale", "y", "rounded_y", "rgb"),
    [(2, 33.68, 33.656, 31.78), (3, 30.41, 30.390, 28.61), (4, 28.43, 28.420, 26.67)],
)
def test_self_test_figures_of_bicubic_on_set5(shared: Path, scale: int, y: float, rounded_y: float, rgb: float) -> None:
    values = []
    inner = np.s_[scale:-scale, scale:-scale]
    for image in _set5(shared):
        height, width = (side // scale * scale for side in image.shape[:2])
        hr = image[:height, :width]
        lr = downscale(hr, scale)
        floating = _resized(lr.astype(float), height, width).clip(0, 255)
        to_y = np.array([65.481, 128.553, 24.966]) / 255
        luma = (16 + hr @ to_y).round()
        papers = _resized(_resized(luma, height // scale, width // scale), height, width).round()
        values.append(
            (
                _psnr(((floating - hr) @ to_y)[inner]),
                _psnr((papers - luma)[inner]),
                psnr(upscale(lr, scale), hr, shave=scale),
            )
        )
    means = np.mean(values, axis=0)
    assert means[0] == pytest.approx(y, abs=0.005)
    # The papers' scripts round at different points, which makes up to 0.006 dB.
    assert means[1] == pytest.approx(rounded_y, abs=0.006)
    assert means[2] == pytest.approx(rgb, abs=0.025)


@pytest.mark.parametrize(("scale", "expected"), [(2, 33.6734), (3, 30.4033), (4, 28.4290)])
def test_bicubic_on_set5_as_it_is_reported_here(shared: Path, scale: int, expected: float) -> None:
    values = []
    for image in _set5(shared):
        height, width = (side // scale * scale for side in image.shape[:2])
        sr = upscale(downscale(image[:height, :width], scale), scale)
        values.append(psnr(sr, image[:height, :width], shave=scale, luma=True))
    # SR is rounded to uint8 by the protocol, which costs bicubic about 0.01 dB.
    assert mean_of_images(values).value == pytest.approx(expected, abs=1e-4)


def test_full_range_luma_is_lower_by_a_constant() -> None:
    one, other = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3), dtype=np.uint8)
    weights = np.array([65.481, 128.553, 24.966]) / 219
    assert psnr(one, other, luma=True) - _psnr((one.astype(float) - other) @ weights) == pytest.approx(1.322, abs=5e-4)
