"""Networks of other projects, by name: built without weights, trained, validated, used, exported, read back."""

import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import paragonsr
from paragonsr.archs.spandrel_adapter import import_spandrel
from paragonsr.archs.spandrel_options import SpandrelOptions
from paragonsr.archs.weights import load_into, load_network, read_metadata, save_metadata
from paragonsr.config import load_config
from paragonsr.errors import UserError
from paragonsr.training.run import train

pytestmark = pytest.mark.skipif(find_spec("spandrel") is None, reason="needs the extra spandrel")

WINDOWS = {"upsampler": "pixelshuffledirect", "img_size": 16}
TINY: dict[str, dict[str, Any]] = {
    "Compact": {"num_feat": 8, "num_conv": 2},
    "SPAN": {"feature_channels": 12},
    "RealPLKSR": {"dim": 16, "n_blocks": 2, "kernel_size": 7},
    "SwinIR": {"embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 8, "mlp_ratio": 2} | WINDOWS,
    "DAT": {"embed_dim": 32, "split_size": [4, 4], "depth": [2], "num_heads": [2], "expansion_factor": 2} | WINDOWS,
}


def tiny(name: str, scale: int = 2) -> nn.Module:
    return SpandrelOptions(network=name, arguments=TINY[name]).build(scale=scale)


@pytest.fixture(params=TINY)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_any_size_goes_through(name: str) -> None:
    network = tiny(name, scale=3).eval()
    for height, width in ((1, 7), (8, 9), (37, 53)):
        with torch.inference_mode():
            assert network(torch.rand(2, 3, height, width)).shape == (2, 3, 3 * height, 3 * width)


def test_the_result_is_what_spandrel_computes_with_the_weights(name: str) -> None:
    spandrel = import_spandrel()
    network = tiny(name).eval()
    descriptor = spandrel.ModelLoader().load_from_state_dict(network.state_dict())
    assert descriptor.scale == 2
    for height, width in ((5, 7), (33, 20)):
        image = torch.rand(1, 3, height, width)
        with torch.no_grad():
            torch.testing.assert_close(network(image).clamp(0, 1), descriptor(image), rtol=0, atol=0)


def test_tensors_are_called_as_their_project_calls_them(name: str) -> None:
    network = tiny(name)
    assert set(network.state_dict()) == set(network.network.state_dict())
    other = tiny(name)
    other.load_state_dict(network.state_dict())
    for key, tensor in other.network.state_dict().items():
        torch.testing.assert_close(tensor, network.state_dict()[key])


def test_trained_validated_used(name: str, tiny_config: Callable[..., Path]) -> None:
    path = tiny_config({"train.total_iter": 4, "val.val_freq": 2, "logger.save_checkpoint_freq": 2}, name=name)
    overrides = ["network_g.type=spandrel", f"network_g.network={name.lower()}"]
    overrides += [f"network_g.arguments.{key}={value}" for key, value in TINY[name].items()]
    outcome = train(load_config(path, overrides).config)
    assert outcome.iteration == 4
    assert outcome.best is not None
    metadata = read_metadata(outcome.weights)
    assert metadata is not None
    assert metadata["options"] == {"network": name.lower(), "arguments": TINY[name]}
    upscaler = paragonsr.load(outcome.weights, device="cpu")
    image = (torch.rand(13, 18, 3) * 255).to(torch.uint8).numpy()
    assert upscaler.upscale(image).shape == (26, 36, 3)
    # Interrupted and resumed: the same weights as from an uninterrupted run.
    longer = train(load_config(path, [*overrides, "train.total_iter=6"]).config)
    once = train(load_config(path, [*overrides, "train.total_iter=6", "name=once"]).config)
    a, b = (load_network(o.folder / "models" / "net_g_ema_6.safetensors") for o in (longer, once))
    for key, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[key]), key


def test_a_checkpoint_of_its_own_project_is_recognised(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = tiny(name).eval()
    torch.save({"params_ema": network.network.state_dict()}, tmp_path / "net_g.pth")
    with caplog.at_level(logging.WARNING):
        loaded = load_network(tmp_path / "net_g.pth")
    assert f"spandrel recognises {name} x2" in caplog.text
    image = torch.rand(1, 3, 17, 22)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), network(image), rtol=0, atol=0)
    # Also as pretrained weights of a training.
    fresh = tiny(name)
    assert load_into(fresh, fresh.options, 2, tmp_path / "net_g.pth") == []  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["Compact", "SPAN", "RealPLKSR"])
def test_exported_for_every_size(tmp_path: Path, name: str) -> None:
    pytest.importorskip("onnxruntime")
    from paragonsr.export.onnx import export_onnx

    assert export_onnx(_source(name), tmp_path / "x.onnx").parity.worst < 5e-5


@pytest.mark.parametrize("name", ["SwinIR", "DAT"])
def test_exported_for_one_size(tmp_path: Path, name: str) -> None:
    pytest.importorskip("onnxruntime")
    from paragonsr.export.onnx import export_onnx

    assert export_onnx(_source(name), tmp_path / "x.onnx", size=(13, 21)).parity.worst < 1e-5


def _source(name: str) -> Any:
    from paragonsr.export.source import Source

    network = tiny(name).eval()
    return Source(network, save_metadata(network.options, 2) | {"name": name}, Path(name))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("network", "arguments", "scale", "message"),
    [
        ("Unheard", {}, 2, "unknown network for spandrel: Unheard"),
        ("Compact", {"num_feet": 8}, 2, "has no argument num_feet"),
        ("Compact", {"num_feat": "many"}, 2, "does not work with these arguments"),
        ("Compact", {"num_in_ch": 1, "num_out_ch": 1}, 2, "from 1 channels to 1"),
        ("SCUNet", {}, 2, "has scale 1"),
        ("DAT", {"embed_dim": 12}, 2, "does not work with these arguments"),
    ],
)
def test_what_cannot_be_built_is_told(network: str, arguments: dict[str, Any], scale: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SpandrelOptions(network=network, arguments=arguments).build(scale=scale)


def test_arguments_that_no_weights_show_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        SpandrelOptions(network="SPAN", arguments={"feature_channels": 12, "img_range": 1.0}).build()
    assert "cannot derive all of these arguments from the weights" in caplog.text


def test_weights_of_nothing_known_are_refused(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.rand(3)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="not weights of a published network"):
        load_network(tmp_path / "w.pth", arch="spandrel")
