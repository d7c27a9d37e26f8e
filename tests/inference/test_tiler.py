"""The tiler compared with the untiled result, on networks with a known receptive field."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from paragonsr.inference.tiler import upscale


def _network(scale: int, radius: int) -> nn.Module:
    """Convolutions with a receptive field of exactly `radius` LR pixels and replicated borders."""
    torch.manual_seed(radius)
    layers: list[nn.Module] = [nn.Conv2d(3, 4, 1)]
    for _ in range(radius):
        layers += [nn.Conv2d(4, 4, 3, padding=1, padding_mode="replicate"), nn.Tanh()]
    return nn.Sequential(*layers, nn.Conv2d(4, 3 * scale**2, 1), nn.PixelShuffle(scale)).eval()


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    scale=st.sampled_from([1, 2, 3, 4]),
    tile=st.integers(1, 70),
    radius=st.integers(0, 3),
    extra=st.integers(0, 6),
)
def test_tiled_equals_untiled_when_the_overlap_covers_the_receptive_field(
    height: int, width: int, scale: int, tile: int, radius: int, extra: int
) -> None:
    network = _network(scale, radius)
    image = torch.rand(1, 3, height, width)
    whole = upscale(network, image, scale)
    tiled = upscale(network, image, scale, tile=tile, overlap=radius + extra)
    assert tiled.shape == (1, 3, height * scale, width * scale)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


class _Windows(nn.Module):
    """Each pixel plus the mean of its window, the same dependencies as window attention."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[-2:]
        pooled = nn.functional.avg_pool2d(image, self.window, ceil_mode=True)
        spread = pooled.repeat_interleave(self.window, -2).repeat_interleave(self.window, -1)
        return nn.functional.interpolate(image + spread[..., :height, :width], scale_factor=2.0)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    tile=st.integers(1, 70),
    window=st.integers(2, 24),
    extra=st.integers(0, 6),
)
def test_windows_are_those_of_the_whole_image(height: int, width: int, tile: int, window: int, extra: int) -> None:
    image = torch.rand(1, 3, height, width)
    whole = upscale(_Windows(window), image, 2)
    tiled = upscale(_Windows(window), image, 2, tile=tile, overlap=window - 1 + extra, grid=window)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("overlap", [0, 8, 16])
def test_d30_no_black_or_darkened_borders_or_seams(overlap: int) -> None:
    bright = torch.full((1, 3, 100, 75), 0.9)
    out = upscale(nn.Upsample(scale_factor=2), bright, 2, tile=32, overlap=overlap)
    torch.testing.assert_close(out, torch.full((1, 3, 200, 150), 0.9), atol=1e-6, rtol=0)


def test_too_small_an_overlap_fades_instead_of_making_a_seam() -> None:
    network = _network(2, 3)

    def global_offset(image: torch.Tensor) -> torch.Tensor:
        return network(image) + image.mean()

    ramp = torch.linspace(0, 1, 128).expand(1, 3, 64, 128).contiguous()
    out = upscale(global_offset, ramp, 2, tile=64, overlap=16)
    whole = network(ramp)
    step = (out - whole)[0, 0].diff(dim=1).abs().max()
    assert step < 0.06, "half the difference of two tiles' means may not fall on one column"


def test_memory_that_runs_out_halves_the_tile_until_it_fits() -> None:
    sides = []

    def small_memory(image: torch.Tensor) -> torch.Tensor:
        sides.append(max(image.shape[-2:]))
        if sides[-1] > 70:
            raise torch.OutOfMemoryError("no memory")
        return nn.functional.interpolate(image, scale_factor=2)

    image = torch.rand(1, 3, 200, 130)
    out = upscale(small_memory, image, 2, overlap=4)
    torch.testing.assert_close(out, nn.functional.interpolate(image, scale_factor=2))
    assert sides[0] == 200


def test_memory_that_never_suffices_is_an_error_and_no_endless_loop() -> None:
    def no_memory(_: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("no memory")

    with pytest.raises(torch.OutOfMemoryError):
        upscale(no_memory, torch.rand(1, 3, 64, 64), 2)
