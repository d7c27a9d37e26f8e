"""Runs that learn from a teacher: our networks, spandrel's and ONNX files, and refusals."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from paragonsr.archs.classic_options import NanoOptions
from paragonsr.archs.weights import save_metadata, save_weights
from paragonsr.config import load_config
from paragonsr.data.options import SingleOptions
from paragonsr.errors import UserError
from paragonsr.inference.model import load
from paragonsr.training.engine.device_context import open_device_context
from paragonsr.training.reporting.record import read_steps
from paragonsr.training.run import TrainResult, train
from paragonsr.training.run_data import open_data

Configure = Callable[..., Path]


def _train(path: Path, *overrides: str) -> TrainResult:
    return train(load_config(path, overrides).config)


def _weights(folder: Path, scale: int = 2) -> Path:
    """Weights of a network with visible detail."""
    options = NanoOptions(detail_gain=1.0)
    network = options.build(scale=scale)
    path = folder / f"teacher{scale}.safetensors"
    save_weights(path, network.state_dict(), save_metadata(options, scale))
    return path


def _taught(path: Path, *overrides: str) -> list[np.ndarray]:
    """Images of the training set's teacher."""
    config = load_config(path, overrides).config
    with open_device_context(config) as device_context:
        packed = open_data(config, device_context).train
    assert packed.teacher is not None
    return [packed.teacher.image(i) for i in range(len(packed))]


def test_the_targets_are_what_the_teacher_makes_of_the_lr_images(tiny_config: Configure, tmp_path: Path) -> None:
    weights = _weights(tmp_path)
    path = tiny_config({"path.pretrain_network_g_teacher": str(weights)})
    config = load_config(path).config
    with open_device_context(config) as device_context:
        packed = open_data(config, device_context).train
    teacher = load(weights)
    assert packed.teacher is not None
    for index in range(len(packed)):
        np.testing.assert_array_equal(packed.teacher.image(index), teacher.upscale(packed.lq(index)))


def test_a_run_learns_from_it_and_resumes_to_the_bit(tiny_config: Configure, tmp_path: Path) -> None:
    changes = {"path.pretrain_network_g_teacher": str(_weights(tmp_path)), "train.teacher_share": 0.5}
    alone = _train(tiny_config(name="alone"))
    straight = _train(tiny_config(changes, name="straight"))
    path = tiny_config(changes, name="halted")
    _train(path, "train.total_iter=6")
    halted = _train(path)
    one, other = load(straight.weights).network, load(halted.weights).network
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    losses = [read_steps(outcome.folder)["loss/l1"] for outcome in (alone, straight)]
    assert not np.array_equal(*losses)


def test_a_run_is_not_continued_with_another_teacher(tiny_config: Configure, tmp_path: Path) -> None:
    path = tiny_config({"path.pretrain_network_g_teacher": str(_weights(tmp_path))})
    _train(path, "train.total_iter=6")
    torch.manual_seed(5)
    _weights(tmp_path)
    with pytest.raises(UserError, match="images"):
        _train(path)


def test_an_ensemble_is_another_teacher(tiny_config: Configure, tmp_path: Path) -> None:
    weights = _weights(tmp_path)
    path = tiny_config({"path.pretrain_network_g_teacher": str(weights)})
    plain, ensemble = _taught(path), _taught(path, "train.teacher_ensemble=true")
    assert any((a != b).any() for a, b in zip(plain, ensemble, strict=True))
    config = load_config(path).config
    with open_device_context(config) as device_context:
        lr = open_data(config, device_context).train.lq(0)
    np.testing.assert_array_equal(ensemble[0], load(weights, ensemble=True).upscale(lr))


def test_a_teacher_that_does_not_say_what_it_is_is_named_by_the_configuration(
    tiny_config: Configure, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"type": "paragonsr2_nano", "upsampler_alpha": 0.25}
    network = NanoOptions.published(upsampler_alpha=0.25).build(scale=2)
    save_file(network.state_dict(), tmp_path / "bare.safetensors")
    changes = {"path.pretrain_network_g_teacher": str(tmp_path / "bare.safetensors"), "network_g_teacher": options}
    taught = _taught(tiny_config(changes))
    config = load_config(tiny_config(changes)).config
    with open_device_context(config) as device_context:
        lr = open_data(config, device_context).train.lq(0)
    network.eval()
    with torch.inference_mode():
        sr = network(torch.from_numpy(lr.copy()).permute(2, 0, 1)[None].float() / 255)
    expected = sr[0].clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()
    assert np.abs(taught[0] - expected).max() <= 1


def test_an_onnx_teacher(tiny_config: Configure, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from paragonsr.export.onnx import export_onnx
    from paragonsr.export.source import open_source

    weights = _weights(tmp_path)
    onnx = export_onnx(open_source(weights), tmp_path / "teacher.onnx").path
    ours = _taught(tiny_config({"path.pretrain_network_g_teacher": str(weights)}))
    theirs = _taught(tiny_config({"path.pretrain_network_g_teacher": str(onnx)}))
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(ours, theirs, strict=True)) <= 1


def test_a_spandrel_teacher(tiny_config: Configure, tmp_path: Path) -> None:
    if find_spec("spandrel") is None:
        pytest.skip("needs the extra spandrel")
    from paragonsr.archs.spandrel_options import SpandrelOptions

    options = SpandrelOptions(network="Compact", arguments={"num_feat": 8, "num_conv": 2})
    network = options.build(scale=2)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / "compact.safetensors")
    taught = _taught(tiny_config({"path.pretrain_network_g_teacher": str(tmp_path / "compact.safetensors")}))
    assert [image.shape for image in taught] == [(64, 72, 3)] * 6


def test_a_teacher_of_another_scale_is_refused(tiny_config: Configure, tmp_path: Path) -> None:
    path = tiny_config({"path.pretrain_network_g_teacher": str(_weights(tmp_path, scale=4))})
    with pytest.raises(UserError, match="has scale 4, not 2"):
        _train(path)


def test_a_teacher_that_is_not_there_is_refused(tiny_config: Configure) -> None:
    with pytest.raises(UserError, match="does not exist"):
        _train(tiny_config({"path.pretrain_network_g_teacher": "nowhere.safetensors"}))


def test_a_network_without_weights_is_no_teacher(tiny_config: Configure) -> None:
    with pytest.raises(UserError, match="needs weights"):
        load_config(tiny_config({"network_g_teacher": {"type": "paragonsr2_nano"}}))


def test_a_degradation_and_a_teacher_exclude_each_other(
    tiny_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SingleOptions, "degrades", lambda options: options)
    with pytest.raises(UserError, match="makes them during training"):
        load_config(tiny_config({"path.pretrain_network_g_teacher": str(_weights(tmp_path))}))
