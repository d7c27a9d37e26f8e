"""HSLuv, against values of its reference implementation, and the loss."""

import pytest
import torch

from paragonsr.losses.hsluv import hsluv
from paragonsr.losses.options import HSLuvOptions

REFERENCE = {
    "#ff0000": (12.177050630061776, 100.0, 53.23711559542933),
    "#00ff00": (127.71501294924047, 100.0, 87.73551910965973),
    "#0000ff": (265.8743202181779, 100.0, 32.30087290398002),
    "#ffff00": (85.87432021817838, 100.0, 97.13855934179691),
}
"""Colours of which the hue, the saturation and the lightness are known: at corners of sRGB saturation is 100."""


def _image(code: str) -> torch.Tensor:
    return torch.tensor([int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)], dtype=torch.float64).view(1, 3, 1, 1)


@pytest.mark.parametrize("code", REFERENCE)
def test_known_colours(code: str) -> None:
    hue, saturation, light = (float(channel) for channel in hsluv(_image(code)))
    expected = REFERENCE[code]
    assert hue * 360 == pytest.approx(expected[0], abs=0.05)
    assert saturation * 100 == pytest.approx(expected[1], abs=0.1)
    assert light * 100 == pytest.approx(expected[2], abs=0.01)


def test_greys_have_no_saturation_and_linear_lightness() -> None:
    hue, saturation, light = (float(channel) for channel in hsluv(_image("#777777")))
    assert (hue, saturation) == (0.0, pytest.approx(0.0, abs=1e-3))
    assert light * 100 == pytest.approx(50.03, abs=0.05)


def _loss(**options: float) -> torch.nn.Module:
    return HSLuvOptions(**options).build()  # type: ignore[arg-type]


def test_equal_images_have_no_loss_and_finite_gradients() -> None:
    hr = torch.rand(2, 3, 9, 11)
    hr[0] = 0.0
    hr[1, :, 0] = 1.0
    sr = hr.clone().requires_grad_()
    value = _loss()(sr, hr)
    assert value.item() == pytest.approx(0, abs=1e-6)
    (gradient,) = torch.autograd.grad(value, sr)
    assert gradient.isfinite().all()


def test_hue_is_a_circle() -> None:
    """Two reds on both sides of hue 0 are close; a red and a cyan are far apart."""
    near = _loss(hue_weight=1, saturation_weight=0, lightness_weight=0)(_image("#ff0033"), _image("#ff2200"))
    far = _loss(hue_weight=1, saturation_weight=0, lightness_weight=0)(_image("#ff0033"), _image("#00ccbb"))
    assert near.item() < 0.2 < 0.8 < far.item()


def test_lightness_alone() -> None:
    value = _loss(hue_weight=0, saturation_weight=0, lightness_weight=1)(_image("#777777"), _image("#ffffff"))
    assert value.item() == pytest.approx(0.4997, abs=1e-3)


def test_the_gradient_points_towards_the_colour() -> None:
    sr = _image("#cc3344").requires_grad_()
    hr = _image("#33aa55")
    for _ in range(300):
        (gradient,) = torch.autograd.grad(_loss(criterion="l2", hue_weight=0)(sr, hr), sr)  # type: ignore[arg-type]
        sr = (sr - 0.2 * gradient).clamp(0, 1).detach().requires_grad_()
    light = [float(hsluv(image)[2]) for image in (sr, hr)]
    assert light[0] == pytest.approx(light[1], abs=0.02)
