"""Our weights loaded with spandrel's loader, as other programs do."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from paragonsr.archs.classic_options import NanoOptions, SOptions
from paragonsr.archs.release_options import PhotoOptions, RealtimeOptions
from paragonsr.archs.spandrel_adapter import import_spandrel
from paragonsr.archs.weights import load_network, save_metadata, save_weights
from paragonsr.spandrel import ID, install

pytestmark = pytest.mark.skipif(find_spec("spandrel") is None, reason="needs the extra spandrel")

OURS: dict[str, tuple[Any, int]] = {
    "nano": (NanoOptions(), 2),
    "nano without sharpening": (NanoOptions(upsampler_alpha=0, skip_upsampler="bicubic"), 3),
    "s with everything": (
        SOptions(structure="dual", num_feat=8, use_attention=True, attention_window=8, use_content_aware=True),
        4,
    ),
    "photo": (PhotoOptions(num_feat=8, num_groups=1, num_blocks=2, window_size=8), 2),
}


@pytest.fixture
def spandrel() -> Any:
    """spandrel with the plugin, installed twice, which must have no effect."""
    package = import_spandrel()
    install()
    install()
    return package


@pytest.mark.parametrize("kind", OURS)
def test_spandrel_computes_what_we_compute(tmp_path: Path, spandrel: Any, kind: str) -> None:
    options, scale = OURS[kind]
    network = options.build(scale=scale).eval()
    save_weights(tmp_path / "w.safetensors", network.state_dict(), save_metadata(options, scale))
    model = spandrel.ModelLoader(device="cpu").load_from_file(tmp_path / "w.safetensors")
    assert isinstance(model, spandrel.ImageModelDescriptor)
    assert (model.architecture.id, model.purpose, model.scale) == (ID, "SR", scale)
    assert (model.input_channels, model.output_channels) == (3, 3)
    image = torch.rand(1, 3, 19, 30)
    with torch.no_grad():
        torch.testing.assert_close(model(image), network(image).clamp(0, 1), rtol=0, atol=0)
    assert model.supports_half
    assert model.half().dtype == torch.float16


@pytest.mark.parametrize("options", [RealtimeOptions.published(), NanoOptions.published(use_attention=False)])
def test_published_weights_without_a_header(tmp_path: Path, spandrel: Any, options: Any) -> None:
    network = options.build(scale=2).eval()
    torch.save({"params": network.state_dict()}, tmp_path / "w.pth")
    model = spandrel.ModelLoader().load_from_file(tmp_path / "w.pth")
    assert model.architecture.id == ID
    image = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        torch.testing.assert_close(model(image), network(image).clamp(0, 1), rtol=0, atol=0)


def test_the_real_published_weights(shared: Path, spandrel: Any) -> None:
    for path in sorted((shared / "weights").glob("*.safetensors")):
        model = spandrel.ModelLoader().load_from_file(path)
        assert model.architecture.id == ID
        image = torch.rand(1, 3, 20, 23)
        with torch.no_grad():
            expected = load_network(path)(image).clamp(0, 1)
        torch.testing.assert_close(model(image), expected, rtol=0, atol=0)


def test_other_networks_are_still_found(tmp_path: Path, spandrel: Any) -> None:
    from spandrel.architectures.Compact import Compact

    torch.save(Compact(num_feat=8, num_conv=2, upscale=2).state_dict(), tmp_path / "compact.pth")
    assert spandrel.ModelLoader().load_from_file(tmp_path / "compact.pth").architecture.id == "Compact"
