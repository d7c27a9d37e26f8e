"""The fixed upscaling under the learned detail."""

# ruff: noqa: N802  # names carry the ids of the published networks' defects

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from paragonsr.archs.skip_upsampler import (
    PhaseUpsampler,
    PublishedUpsampler,
    bicubic,
    build_skip_upsampler,
    mks2021,
    phase_taps,
)


def wave(frequency: float) -> torch.Tensor:
    """A grating of amplitude 1 along x."""
    return torch.cos(frequency * torch.arange(64.0)).expand(1, 3, 64, 64).contiguous()


def amplitude(kind: str, alpha: float) -> float:
    sr = build_skip_upsampler(kind, 2, alpha, "replicate", "classic")(wave(math.pi / 2))
    return float(sr[..., 40:88].std())


def test_A1_alpha_sharpens() -> None:
    assert amplitude("mks2021", 0.0) < amplitude("mks2021", 0.3) < amplitude("mks2021", 0.6)
    assert amplitude("bicubic", 0.0) < amplitude("bicubic", 0.3)


def test_A1_legacy_alpha_blurs() -> None:
    assert amplitude("published", 0.0) > amplitude("published", 0.4) > amplitude("published", 1.0)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("kind", ["mks2021", "bicubic"])
def test_A1_no_subpixel_shift(kind: str, scale: int) -> None:
    taps = phase_taps(kind, scale, 0.35)
    torch.testing.assert_close(taps.sum(1), torch.ones(scale, dtype=taps.dtype))
    torch.testing.assert_close(taps, taps.flip(0, 1))


def test_A1_kernels_at_known_points() -> None:
    assert [mks2021(x) for x in (0.0, 1.0, 2.0, 3.0, 4.0, 4.5)] == pytest.approx(
        [577 / 576, 0.0, 0.0, 0.0, -1 / 1152, 0.0], abs=1e-12
    )
    assert [bicubic(x) for x in (0.0, 0.5, 1.0, 1.5, 2.0)] == pytest.approx([1.0, 0.5625, 0.0, -0.0625, 0.0])
    for joint in (0.5, 1.5, 2.5, 3.5):
        assert mks2021(joint - 1e-9) == pytest.approx(mks2021(joint + 1e-9), abs=1e-6)


def test_bicubic_is_that_of_pillow_inside() -> None:
    image = torch.rand(1, 3, 12, 14, dtype=torch.float64)
    # with antialias torch computes as Pillow does, a = -0.5; without, a = -0.75
    expected = F.interpolate(image, scale_factor=2, mode="bicubic", antialias=True)
    ours = PhaseUpsampler("bicubic", 2, 0.0, "replicate").double()(image)
    torch.testing.assert_close(ours[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4], atol=1e-6, rtol=0)


@given(
    kind=st.sampled_from(["mks2021", "bicubic", "published"]),
    scale=st.sampled_from([2, 3, 4, 8]),
    alpha=st.floats(0, 1),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    level=st.floats(0, 1),
)
@settings(max_examples=40, deadline=None)
def test_A2_a_constant_image_stays_constant(
    kind: str, scale: int, alpha: float, height: int, width: int, level: float
) -> None:
    sr = build_skip_upsampler(kind, scale, alpha, "replicate", "classic")(torch.full((1, 3, height, width), level))
    assert sr.shape == (1, 3, scale * height, scale * width)
    torch.testing.assert_close(sr, torch.full_like(sr, level), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("alpha", "corner", "edge"), [(0.0, 0.47, 0.69), (0.4, 0.40, 0.63)])
def test_A2_legacy_zero_padding_darkens_the_border(alpha: float, corner: float, edge: float) -> None:
    sr = PublishedUpsampler(2, alpha, "zero", "classic")(torch.ones(1, 3, 20, 20))[0, 0]
    assert float(sr[0, 0]) == pytest.approx(corner, abs=0.006)
    assert float(sr[0, 20]) == pytest.approx(edge, abs=0.006)


@pytest.mark.parametrize("kind", ["mks2021", "bicubic", "published"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_radius_is_what_a_pixel_reaches(kind: str, scale: int) -> None:
    base = build_skip_upsampler(kind, scale, 0.4, "replicate", "classic").double()
    image = torch.rand(1, 3, 21, 21, dtype=torch.float64)
    other = image.clone()
    other[..., 10, 10] += 1
    changed = ((base(other) - base(image)).abs() > 1e-12)[0, 0].nonzero() // scale
    assert (changed - 10).abs().max() == base.radius


def test_the_base_has_no_gradient_and_no_tensors_in_files() -> None:
    base = PhaseUpsampler("mks2021", 2, 0.35, "replicate")
    assert not list(base.parameters())
    assert not base.state_dict()
    assert not base(torch.rand(1, 3, 8, 8)).requires_grad


@pytest.mark.parametrize("kind", ["mks2021", "published"])
def test_mixed_precision_leaves_the_base_alone(kind: str) -> None:
    base = build_skip_upsampler(kind, 2, 0.3, "replicate", "classic")
    image = torch.rand(1, 3, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = base(image.bfloat16().float())
    torch.testing.assert_close(mixed, base(image.bfloat16().float()), rtol=0, atol=0)
