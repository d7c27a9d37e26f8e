"""Every loss compared with an independent formula in float64, and its gradient with finite differences."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pytorch_msssim import ms_ssim
from pytorch_msssim import ssim as reference_ssim

from paragonsr.errors import UserError
from paragonsr.losses.options import L1Options, LossOptions, MSSSIMLossOptions, SSIMLossOptions
from paragonsr.losses.structural import FLOOR, soft_floor
from paragonsr.metrics.ssim import ssim as measured_ssim

CHOICE: TypeAdapter[LossOptions] = TypeAdapter(LossOptions)


def _loss(name: str, **options: Any) -> torch.nn.Module:
    return CHOICE.validate_python({"type": name, **options}).build()


def _images(side: int = 24, count: int = 2, noise: float = 0.1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hr = torch.rand(count, 3, side, side, dtype=torch.float64, generator=generator)
    hr = torch.nn.functional.avg_pool2d(hr, 3, 1, 1)
    return hr + noise * torch.randn(hr.shape, dtype=torch.float64, generator=generator), hr


def _variation(a: np.ndarray) -> float:
    return float(np.abs(np.diff(a, axis=-1)).mean() + np.abs(np.diff(a, axis=-2)).mean())


def _laplacian(a: np.ndarray) -> np.ndarray:
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    windows = np.lib.stride_tricks.sliding_window_view(a, (3, 3), axis=(-2, -1))
    return (windows * kernel).sum((-2, -1))


def _focal(d: np.ndarray, alpha: float) -> float:
    size = np.abs(np.fft.fft2(d, norm="ortho"))
    weights = size**alpha
    return float((weights / weights.max((-2, -1), keepdims=True) * size**2).mean())


def _fft(d: np.ndarray) -> float:
    coefficients = np.fft.fft2(d, norm="ortho")
    return float((np.abs(coefficients.real).mean() + np.abs(coefficients.imag).mean()) / 2)


TO_Y = np.array([0.299, 0.587, 0.114])
TO_CB = (np.array([0, 0, 1]) - TO_Y) / 1.772
TO_CR = (np.array([1, 0, 0]) - TO_Y) / 1.402


def _mixed(d: np.ndarray, row: np.ndarray) -> float:
    return float(np.abs(np.einsum("c,nchw->nhw", row, d)).mean())


FORMULAS: dict[str, Any] = {
    "l1loss": lambda s, h: np.abs(s - h).mean(),
    "mseloss": lambda s, h: ((s - h) ** 2).mean(),
    "charbonnierloss": lambda s, h: np.sqrt((s - h) ** 2 + 1e-6).mean(),
    "psnrloss": lambda s, h: 80 + 10 * np.log10(((s - h) ** 2).mean((1, 2, 3)) + 1e-8).mean(),
    "huberloss": lambda s, h: (0.5 * (s - h) ** 2).mean(),
    "fftloss": lambda s, h: _fft(s - h),
    "ffloss": lambda s, h: _focal(s - h, 1.0),
    "gradientloss": lambda s, h: _variation(s - h),
    "laplacianloss": lambda s, h: np.abs(_laplacian(s - h)).mean(),
    "tvloss": lambda s, h: _variation(s),
    "lumaloss": lambda s, h: _mixed(s - h, TO_Y),
    "colorloss": lambda s, h: (_mixed(s - h, TO_CB) + _mixed(s - h, TO_CR)) / 2,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_value_is_the_formula(name: str) -> None:
    sr, hr = _images()
    assert _loss(name)(sr, hr).item() == pytest.approx(FORMULAS[name](sr.numpy(), hr.numpy()), rel=2e-5, abs=1e-12)


@pytest.mark.parametrize(("off", "decibels"), [(0.1, 20.0), (0.01, 40.0), (0.0, 80.0)])
def test_psnr_loss_is_what_is_missing_to_80_decibels(off: float, decibels: float) -> None:
    hr = torch.full((2, 3, 8, 8), 0.5, dtype=torch.float64)
    assert _loss("psnrloss")(hr + off, hr).item() == pytest.approx(80 - decibels, abs=1e-3)


def test_psnr_loss_of_luma_has_the_gradient_of_the_papers_formula() -> None:
    sr, hr = _images()
    sr.requires_grad_()
    y_sr, y_hr = (((i * torch.tensor([65.481, 128.553, 24.966]).view(3, 1, 1)).sum(1) + 16) / 255 for i in (sr, hr))
    theirs = (10 / math.log(10) * torch.log((y_sr - y_hr).square().mean((1, 2)) + 1e-8)).mean()
    ours = _loss("psnrloss", to_y=True)(sr, hr)
    assert ours.item() == pytest.approx(80 + theirs.item(), abs=1e-5)
    expected, got = torch.autograd.grad(theirs, sr)[0], torch.autograd.grad(ours, sr)[0]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-9)


def test_huber_is_linear_beyond_delta() -> None:
    sr, hr = _images(noise=0.5)
    error = np.abs((sr - hr).numpy())
    expected = np.where(error < 0.1, 0.5 * error**2, 0.1 * (error - 0.05)).mean()
    assert _loss("huberloss", delta=0.1)(sr, hr).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", [*(n for n in FORMULAS if n != "ffloss"), "ssimloss", "mssimloss"])
def test_gradcheck(name: str) -> None:
    sr, hr = _images(side=23, count=1 if "ssim" in name else 2)
    options = {"scales": "auto"} if name == "mssimloss" else {}
    assert torch.autograd.gradcheck(_loss(name, **options), (sr.requires_grad_(), hr), fast_mode=False)


def test_gradcheck_of_focal_frequency_with_its_weights_held() -> None:
    sr, hr = _images(side=8)
    sr.requires_grad_()
    (got,) = torch.autograd.grad(_loss("ffloss")(sr, hr), sr)
    size = torch.fft.fft2(sr - hr, norm="ortho").abs().detach()
    weights = size / size.amax((-2, -1), keepdim=True)
    held = (weights * torch.fft.fft2(sr - hr, norm="ortho").abs().square()).mean()
    (expected,) = torch.autograd.grad(held, sr)
    torch.testing.assert_close(got, expected)


def test_focal_frequency_of_equal_images_is_zero_with_a_finite_gradient() -> None:
    _, hr = _images(side=8)
    sr = hr.clone().requires_grad_()
    value = _loss("ffloss")(sr, hr)
    (gradient,) = torch.autograd.grad(value, sr)
    assert value.item() == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("name", [*FORMULAS, "ssimloss", "mssimloss"])
def test_a_mean_over_samples(name: str) -> None:
    sr, hr = _images(side=24, count=4)
    loss = _loss(name, **({"scales": 2} if name == "mssimloss" else {}))
    whole = loss(sr, hr).item()
    assert whole == pytest.approx((loss(sr[:1], hr[:1]).item() + 3 * loss(sr[1:], hr[1:]).item()) / 4)


@pytest.mark.parametrize("name", [n for n in FORMULAS if n not in ("tvloss", "charbonnierloss")] + ["ssimloss"])
def test_equal_images_have_no_loss_and_d1_similar_ones_have_less_than_dissimilar(name: str) -> None:
    (near, hr), (far, _) = _images(noise=0.05), _images(noise=0.2)
    loss = _loss(name)
    assert loss(hr, hr).item() == pytest.approx(0, abs=1e-12)
    assert 0 < loss(near, hr).item() < loss(far, hr).item()


@pytest.mark.parametrize("name", ["ssimloss", "mssimloss"])
def test_d1_descending_the_loss_raises_the_similarity(name: str) -> None:
    sr, hr = _images(side=44)
    before = reference_ssim(sr, hr, data_range=1.0).item()
    loss = _loss(name, **({"scales": 3} if name == "mssimloss" else {}))
    for _ in range(20):
        sr = sr.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(sr, hr), sr)
        sr = sr - 100 * gradient
    assert reference_ssim(sr.detach(), hr, data_range=1.0).item() > before + 0.02


def test_ssim_is_the_metric() -> None:
    random = np.random.default_rng(0)
    a, b = random.integers(0, 256, (2, 32, 40, 3), dtype=np.uint8)
    sr, hr = (torch.from_numpy(i / 255).permute(2, 0, 1)[None] for i in (a, b))
    assert 1 - _loss("ssimloss")(sr, hr).item() == pytest.approx(measured_ssim(a, b), abs=1e-9)


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.5])
def test_ms_ssim_is_the_reference(noise: float) -> None:
    sr, hr = _images(side=192, noise=noise)
    sr.requires_grad_()
    value, expected = _loss("mssimloss")(sr, hr), 1 - ms_ssim(sr, hr, data_range=1.0)
    assert value.item() == pytest.approx(expected.item(), abs=3e-6)  # its window is float32
    gradients = [torch.autograd.grad(v, sr)[0] for v in (value, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-9)


def _value_and_gradient(name: str, sr: torch.Tensor, hr: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    sr = sr.detach().requires_grad_()
    value = _loss(name)(sr, hr)
    return value, torch.autograd.grad(value, sr)[0]


@pytest.mark.parametrize("name", [*FORMULAS, "ssimloss", "mssimloss"])
def test_memory_layout_changes_nothing(name: str) -> None:
    sr, hr = _images(side=176)
    last = [image.contiguous(memory_format=torch.channels_last) for image in (sr, hr)]
    expected = _value_and_gradient(name, sr, hr)
    torch.testing.assert_close(_value_and_gradient(name, *last), expected, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(_value_and_gradient(name, last[0], hr), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", [*FORMULAS, "ssimloss", "mssimloss"])
@pytest.mark.parametrize("shift", [-2.0, 2.0])
def test_colours_beyond_0_and_1_still_have_a_gradient(name: str, shift: float) -> None:
    sr, hr = _images(side=176, count=1)
    assert not ((sr + shift >= 0) & (sr + shift <= 1)).any()
    _, gradient = _value_and_gradient(name, sr + shift, hr)
    assert gradient.isfinite().all()
    assert gradient.norm() > 0


def test_bf16_autocast_changes_nothing() -> None:
    sr, hr = (i.float() for i in _images(side=192, noise=0.02))
    expected = _loss("mssimloss")(sr, hr).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert _loss("mssimloss")(sr, hr).item() == expected


def test_bf16_and_fp16_images_do_not_overflow() -> None:
    sr, hr = _images(side=192, noise=0.02)
    exact = _loss("mssimloss")(sr, hr).item()
    for dtype in (torch.bfloat16, torch.float16):
        image = sr.to(dtype).requires_grad_()
        value = _loss("mssimloss")(image, hr.float())
        (gradient,) = torch.autograd.grad(value, image)
        assert value.item() == pytest.approx(exact, rel=0.05)
        assert torch.isfinite(gradient).all()


def test_anti_correlated_images_have_a_finite_gradient_that_helps() -> None:
    _, hr = _images(side=192)
    sr = (1 - hr).requires_grad_()
    loss = _loss("mssimloss")
    value = loss(sr, hr)
    (gradient,) = torch.autograd.grad(value, sr)
    assert torch.isfinite(gradient).all()
    assert gradient.norm() > 0
    assert loss(sr - 0.1 * gradient / gradient.norm(), hr) < value


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_the_soft_floor_is_positive_and_rises(one: float, other: float) -> None:
    low, high = sorted((one, other))
    floor = [soft_floor(torch.tensor(v, dtype=torch.float64)).item() for v in (low, high)]
    assert 0 < floor[0] <= floor[1]
    if high > FLOOR:
        assert floor[1] == high


def test_too_small_patches_are_named_or_use_fewer_scales() -> None:
    sr, hr = _images(side=96)
    with pytest.raises(UserError, match="needs HR patches of 176 pixels, but these are 96 x 96") as caught:
        _loss("mssimloss")(sr, hr)
    assert "scales: 4" in str(caught.value)
    assert _loss("mssimloss", scales="auto")(sr, hr).item() == _loss("mssimloss", scales=4)(sr, hr).item()
    small = _images(side=9)
    for name in ("ssimloss", "mssimloss"):
        with pytest.raises(UserError, match="11 pixels, but these are 9 x 9"):
            _loss(name, **({"scales": "auto"} if name == "mssimloss" else {}))(*small)


def test_one_scale_is_ssim_to_the_power_of_all_weights() -> None:
    sr, hr = _images(side=32)
    per_channel = torch.stack(
        [1 - _loss("ssimloss")(sr[n : n + 1, c : c + 1], hr[n : n + 1, c : c + 1]) for n in range(2) for c in range(3)]
    )
    expected = 1 - (per_channel**1.0001).mean()
    assert _loss("mssimloss", scales=1)(sr, hr).item() == pytest.approx(expected.item(), abs=1e-12)


def test_d16_ramps() -> None:
    ramp = L1Options(loss_weight=0.2, start_iter=100, target_iter=200, target_weight=1.0)
    assert [ramp.weight_at(i) for i in (0, 99)] == [0.0, 0.0], "off until it starts, as in the earlier implementation"
    assert [ramp.weight_at(i) for i in (100, 150, 200, 10_000)] == pytest.approx([0.2, 0.6, 1.0, 1.0])
    cosine = ramp.model_copy(update={"schedule_type": "cosine"})
    assert cosine.weight_at(125) == pytest.approx(0.2 + 0.8 * (1 - math.cos(math.pi / 4)) / 2)
    step = ramp.model_copy(update={"schedule_type": "step"})
    assert [step.weight_at(i) for i in (199, 200)] == [0.2, 1.0]
    late = L1Options(loss_weight=0.5, start_iter=10)
    assert [late.weight_at(i) for i in (9, 10)] == [0.0, 0.5]
    early = L1Options(loss_weight=0.5, disable_after=10)
    assert [early.weight_at(i) for i in (9, 10)] == [0.5, 0.0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target_iter": 5}, "both"),
        ({"target_weight": 5.0}, "both"),
        ({"start_iter": 5, "target_iter": 5, "target_weight": 1.0}, "not after"),
        ({"loss_weight": -1.0}, "greater than or equal to 0"),
        ({"scales": 6}, "less than or equal to 5"),
    ],
)
def test_bad_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        MSSSIMLossOptions(**options)


@pytest.mark.parametrize(
    ("written", "label"),
    [("L1Loss", "l1"), ("MSSIMLoss", "mssim"), ("msssimloss", "mssim"), ("SSIMLoss", "ssim"), ("FFLoss", "ff")],
)
def test_spellings_and_labels(written: str, label: str) -> None:
    assert CHOICE.validate_python({"type": written}).label == label
    assert SSIMLossOptions().label == "ssim"
