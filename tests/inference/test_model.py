"""paragonsr.load: its result, and upscaling of images with it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import paragonsr
from paragonsr.archs.classic_options import NanoOptions
from paragonsr.archs.weights import save_metadata, save_weights
from paragonsr.errors import UserError
from paragonsr.inference.model import Upscaler


@pytest.fixture
def weights(tmp_path: Path) -> Callable[..., Path]:
    """Writes random weights of a Nano."""

    def write(scale: int = 2, **options: object) -> Path:
        chosen = NanoOptions(**options)
        path = tmp_path / f"nano_x{scale}.safetensors"
        save_weights(path, chosen.build(scale=scale).state_dict(), save_metadata(chosen, scale))
        return path

    return write


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (13, 21)])
def test_every_size_at_every_scale(weights: Callable[..., Path], scale: int, height: int, width: int) -> None:
    upscaler = paragonsr.load(weights(scale))
    assert upscaler.scale == scale
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    sr = upscaler.upscale(image)
    assert sr.shape == (scale * height, scale * width, 3)
    assert sr.dtype == np.uint8


def test_tiles_of_a_network_with_window_attention_are_the_whole_image() -> None:
    torch.manual_seed(3)
    network = NanoOptions(use_attention=True, attention_window=8).build(scale=2)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(1) if name.endswith("gamma") else parameter.add_(0.1 * torch.randn_like(parameter))
    upscaler = Upscaler(network, 2, torch.device("cpu"))
    image = np.random.default_rng(0).random((61, 75, 3), dtype=np.float32)
    whole = upscaler.upscale(image, tile=0)
    for tile in (16, 21, 40):
        np.testing.assert_allclose(upscaler.upscale(image, tile=tile), whole, rtol=0, atol=1e-5)
    network.grid = 1  # without the grid they are not equal
    assert np.abs(upscaler.upscale(image, tile=21) - whole).max() > 1e-3


def test_the_file_restores_the_options_that_change_the_function(weights: Callable[..., Path]) -> None:
    path = weights(skip_upsampler="bicubic", upsampler_alpha=0.0)
    network = paragonsr.load(path).network
    assert network.options.skip_upsampler == "bicubic"
    assert network.options.upsampler_alpha == 0.0
    assert paragonsr.load(path, upsampler_alpha=0.25).network.options.upsampler_alpha == 0.25


def test_float_and_uint8_agree(weights: Callable[..., Path]) -> None:
    upscaler = paragonsr.load(weights())
    image = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    floats = upscaler.upscale(image / 255)
    assert floats.dtype == np.float32
    assert floats.min() >= 0
    assert floats.max() <= 1
    np.testing.assert_array_equal(upscaler.upscale(image), np.round(floats * 255).astype(np.uint8))


def test_values_are_rounded_half_to_even_and_clipped() -> None:
    levels = torch.tensor([-0.2, 0.5 / 255, 1.5 / 255, 2.5 / 255, 1.2]).double()

    class Constant(torch.nn.Module):
        def forward(self, lr: torch.Tensor) -> torch.Tensor:
            return levels.float().expand(1, 3, 1, 5)

    sr = Upscaler(Constant(), 1, torch.device("cpu")).upscale(np.zeros((1, 5, 3), np.uint8))
    expected = (levels.float() * 255).round().clamp(0, 255)
    assert sr[0, :, 0].tolist() == expected.tolist()
    assert sr[0, 0, 0] == 0
    assert sr[0, 4, 0] == 255


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros(4, np.uint8), "height x width"),
        (np.zeros((4, 4, 5), np.uint8), "height x width x 1 to 4"),
        (np.zeros((0, 4, 3), np.uint8), "height x width"),
        (np.zeros((4, 4, 3), np.int32), "int32"),
    ],
)
def test_other_images_are_refused(weights: Callable[..., Path], image: np.ndarray, said: str) -> None:
    with pytest.raises(UserError, match=said):
        paragonsr.load(weights()).upscale(image)


def test_loading_changes_no_gradient_setting_and_no_generator(weights: Callable[..., Path]) -> None:
    path = weights()
    before = torch.get_rng_state()
    upscaler = paragonsr.load(path)
    assert not any(p.requires_grad for p in upscaler.network.parameters())
    assert not upscaler.network.training
    assert torch.is_grad_enabled()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("device", ["nonsense", "xpu:17"])
def test_a_device_that_is_not_there_is_named(weights: Callable[..., Path], device: str) -> None:
    with pytest.raises(UserError, match="cannot be used"):
        paragonsr.load(weights(), device=device)


@pytest.mark.parametrize(
    ("precision", "has", "warned"), [("bf16", True, False), ("bf16", False, True), ("fp16", True, True)]
)
def test_a_precision_that_the_cpu_lacks_becomes_fp32_and_is_said(
    weights: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    precision: str,
    has: bool,
    warned: bool,
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    path, image = weights(), np.random.default_rng(0).random((9, 14, 3), dtype=np.float32)
    full, low = (paragonsr.load(path, precision=p, device="cpu").upscale(image) for p in ("fp32", precision))
    assert ("computing in fp32" in caplog.text) is warned
    difference = np.abs(full - low).max()
    assert difference == 0 if warned else 0 < difference < 0.02
