"""Engines: the same pixels, chosen by measurement, and a way back."""

import logging
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import paragonsr
from paragonsr import models
from paragonsr.cli import main
from paragonsr.errors import UserError
from paragonsr.export.engines import use_engine
from paragonsr.inference import engine as engine_module
from paragonsr.inference.engine import EngineNetwork
from paragonsr.inference.model import Upscaler

ENGINES = ["onnxruntime", "openvino"]
NANO = Path("nano")


def image(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def same_but_for_rounding(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether at most one of a thousand values differs, and by one level: those that fall on a rounding boundary."""
    difference = np.abs(found.astype(int) - expected.astype(int))
    return bool(difference.max() <= 1 and (difference > 0).mean() <= 1e-3)


@cache
def by(engine: str, ensemble: bool = False) -> Upscaler:
    pytest.importorskip(engine)
    return use_engine(paragonsr.load("nano", device="cpu", ensemble=ensemble), engine, NANO)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((40, 51, 3), np.uint8), ((33, 40), np.uint8), ((40, 51, 4), np.uint16), ((33, 40, 2), np.uint16)],
)
def test_the_same_pixels(engine: str, shape: tuple[int, ...], dtype: type) -> None:
    own = paragonsr.load("nano", device="cpu")
    upscaler = by(engine)
    for tile in (0, 32):
        expected = own.upscale(image(*shape, dtype=dtype), tile=tile)
        found = upscaler.upscale(image(*shape, dtype=dtype), tile=tile)
        if dtype is np.uint8:
            assert same_but_for_rounding(found, expected)
        else:
            assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    assert upscaler.network.chosen == engine


@pytest.mark.parametrize("engine", ENGINES)
def test_ensembles(engine: str) -> None:
    expected = paragonsr.load("nano", device="cpu", ensemble=True).upscale(image(20, 31, 3))
    assert same_but_for_rounding(by(engine, ensemble=True).upscale(image(20, 31, 3)), expected)


class _Slow(torch.nn.Module):
    scale, receptive_field, grid = 1, 3, 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(40):
            x = x + 0
        return x


def test_the_fastest_is_chosen_on_an_image_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    network = EngineNetwork(_Slow(), {"quick": lambda given: given})
    assert (network.receptive_field, network.grid, network.scale) == (3, 1, 1)
    network(torch.rand(1, 3, 20, 20))
    assert network.chosen is None
    network(torch.rand(1, 3, 600, 600))
    assert network.chosen == "quick"
    monkeypatch.setattr(engine_module, "MARGIN", 1e9)
    network = EngineNetwork(_Slow(), {"quick": lambda given: given})
    network(torch.rand(1, 3, 600, 600))
    assert network.chosen == "torch"


@pytest.mark.parametrize("forced", [True, False])
def test_one_that_differs_is_not_used(forced: bool, caplog: pytest.LogCaptureFixture) -> None:
    network = EngineNetwork(_Slow(), {"other": lambda given: given + 2e-4}, forced=forced)
    given = torch.rand(1, 3, 200, 200)
    assert torch.equal(network(given), given)
    assert "other differs from the network by 2.0e-04; continuing with torch" in caplog.text
    assert network.chosen == "torch"


def test_one_that_fails_later_is_left(caplog: pytest.LogCaptureFixture) -> None:
    def fails(given: np.ndarray) -> np.ndarray:
        if given.shape[-1] > 30:
            raise RuntimeError("out of ideas")
        return given

    network = EngineNetwork(_Slow(), {"weak": fails}, forced=True)
    network(torch.rand(1, 3, 20, 20))
    assert network.chosen == "weak"
    given = torch.rand(1, 3, 20, 40)
    assert torch.equal(network(given), given)
    assert "weak failed (out of ideas); continuing with torch" in caplog.text


def test_auto_measures_where_a_graph_is_at_hand() -> None:
    pytest.importorskip("onnxruntime")
    assert isinstance(use_engine(paragonsr.load("nano", device="cpu"), "auto", NANO).network, EngineNetwork)


def test_auto_makes_no_graph(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes((models.FOLDER / "nano.safetensors").read_bytes())
    upscaler = paragonsr.load(weights, device="cpu")
    assert use_engine(upscaler, "auto", weights).network is upscaler.network
    assert not isinstance(upscaler.network, EngineNetwork)


def test_an_old_graph_beside_the_weights_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("onnxruntime")
    from paragonsr.archs.weights import read_weights, save_weights

    state, metadata = read_weights("nano")
    save_weights(tmp_path / "w.safetensors", {k: v * 1.01 for k, v in state.items()}, metadata or {})
    (tmp_path / "w.onnx").write_bytes((models.FOLDER / "nano.onnx").read_bytes())
    upscaler = use_engine(paragonsr.load(tmp_path / "w.safetensors", device="cpu"), "auto", tmp_path / "w.safetensors")
    expected = paragonsr.load(tmp_path / "w.safetensors", device="cpu").upscale(image(150, 150, 3))
    with caplog.at_level(logging.WARNING):
        assert same_but_for_rounding(upscaler.upscale(image(150, 150, 3)), expected)
    assert "differs from the network" in caplog.text


def test_an_onnx_file_may_be_computed_by_openvino() -> None:
    pytest.importorskip("openvino")
    file = models.FOLDER / "nano.onnx"
    expected = paragonsr.load(file).upscale(image(30, 41, 3))
    upscaler = use_engine(paragonsr.load(file, device="cpu"), "openvino", file)
    assert same_but_for_rounding(upscaler.upscale(image(30, 41, 3)), expected)
    assert upscaler.network.chosen == "openvino"
    with pytest.raises(UserError, match="torch cannot compute an ONNX file"):
        use_engine(paragonsr.load(file), "torch", file)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_command(tmp_path: Path, engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip(engine)
    Image.fromarray(image(30, 40, 3)).save(tmp_path / "a.png")
    for name in (engine, "torch"):
        arguments = ["upscale", tmp_path / "a.png", tmp_path / f"{name}.png", "--model", "nano", "--engine", name]
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in (*arguments, "--device", "cpu")])
        assert not ended.value.code
    assert f"by {engine}" in capsys.readouterr().out
    found, expected = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in (engine, "torch"))
    assert same_but_for_rounding(found, expected)


def test_an_unknown_engine_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(image(8, 8, 3)).save(tmp_path / "a.png")
    with pytest.raises(SystemExit):
        main(["upscale", str(tmp_path / "a.png"), "--model", "nano", "--engine", "steam"])
    assert "unknown engine 'steam'" in capsys.readouterr().err
