"""ONNX files compute the same as PyTorch at every size, or are not written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import paragonsr
from paragonsr.archs.classic_options import NanoOptions, SOptions
from paragonsr.archs.release_options import PhotoOptions, ProOptions, StreamOptions
from paragonsr.archs.weights import load_network, save_metadata, save_weights
from paragonsr.cli import main
from paragonsr.errors import UserError
from paragonsr.export.onnx import ExportError, export_onnx
from paragonsr.export.parity import SHAPES, ParityError, check_parity, inferred_scale
from paragonsr.export.source import Source, open_source

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SMALL = {"num_feat": 8, "num_groups": 1}
KINDS: dict[str, tuple[Any, int]] = {
    "nano": (NanoOptions(), 2),
    "nano_x3": (NanoOptions(num_feat=4), 3),
    "nano_published": (NanoOptions.published(use_attention=False, use_content_aware=False), 2),
    "s_attention": (SOptions(num_feat=8, num_blocks=2, use_attention=True), 4),
    "stream": (StreamOptions(**SMALL, num_blocks=1), 2),
    "photo": (PhotoOptions(**SMALL, num_blocks=2, window_size=8), 2),
    "pro": (ProOptions(**SMALL, num_blocks=1, window_size=8), 2),
}


def source(options: Any, scale: int = 2) -> Source:
    """A network in which every branch affects the output: factors that start near zero are as large as trained ones."""
    network: nn.Module = options.build(scale=scale).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(0.5)
    return Source(network, save_metadata(options, scale) | {"name": "Test"}, Path("2x_Test.safetensors"))


def run(path: Path, image: np.ndarray) -> np.ndarray:
    return np.asarray(onnxruntime.InferenceSession(path).run(None, {"input": image})[0])


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow) if kind == "pro" else kind for kind in KINDS if kind != "photo"],
)
def test_the_graph_is_the_network_at_every_size(tmp_path: Path, kind: str) -> None:
    options, scale = KINDS[kind]
    given = source(options, scale)
    done = export_onnx(given, tmp_path)
    assert done.path.name == f"{scale}x-Test_fp32_op18.onnx"
    assert set(done.parity.differences) == set(SHAPES)
    assert done.parity.worst < 1e-5
    for shape in ((3, 3, 21, 100), (1, 3, 8, 1)):
        image = np.random.default_rng(1).random(shape, dtype=np.float32)
        with torch.no_grad():
            expected = given.network(torch.from_numpy(image)).numpy()
        np.testing.assert_allclose(run(done.path, image), expected, atol=1e-5)
    assert inferred_scale(onnx.load(done.path), None) == scale


def test_what_others_look_for_in_the_file(tmp_path: Path) -> None:
    proto = onnx.load(export_onnx(source(NanoOptions(upsampler_alpha=0.2)), tmp_path / "x.onnx").path)
    onnx.checker.check_model(proto, full_check=True)
    assert [(value.name, len(proto.graph.input)) for value in proto.graph.input] == [("input", 1)]
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["batch_size", 3, "height", "width"]
    assert [value.name for value in proto.graph.output] == ["output"]
    assert {entry.domain: entry.version for entry in proto.opset_import} == {"": 18}
    entries = {entry.key: entry.value for entry in proto.metadata_props}
    assert (entries["name"], entries["architecture"], entries["scale"]) == ("2x-Test", "paragonsr2_nano", "2")
    ours = json.loads(entries["paragonsr"])
    assert ours["options"]["upsampler_alpha"] == 0.2
    assert ours["export"]["precision"] == "fp32"
    assert ours["export"]["max_difference"] <= ours["export"]["tolerance"] == 1e-4


@pytest.mark.slow
def test_R6_photo_keeps_its_attention(tmp_path: Path) -> None:  # noqa: N802 - the id of the published defect
    given = source(KINDS["photo"][0])
    done = export_onnx(given, tmp_path / "with.onnx")
    assert done.parity.worst < 1e-5
    image = np.random.default_rng(1).random((1, 3, 33, 41), dtype=np.float32)
    with torch.no_grad():
        expected = given.network(torch.from_numpy(image)).numpy()
        bare = KINDS["photo"][0].model_copy(update={"attention_mode": "none"}).build().eval()
        bare.load_state_dict(given.network.state_dict(), strict=False)
        without = bare(torch.from_numpy(image)).numpy()
    found = run(done.path, image)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - without).max() > 1e-3
    # If the attention had been lost, the parity check would have failed.
    lost = onnx.load(export_onnx(Source(bare, given.metadata, given.path), tmp_path / "without.onnx").path)
    with pytest.raises(ParityError, match="differs from the network"):
        check_parity(lost, given.network, 2, "fp32")


@pytest.mark.parametrize("kind", ["nano", pytest.param("s_attention", marks=pytest.mark.slow)])
def test_half_precision(tmp_path: Path, kind: str) -> None:
    options, scale = KINDS[kind]
    full, half = (export_onnx(source(options, scale), tmp_path, precision=p) for p in ("fp32", "fp16"))
    assert half.path.name == f"{scale}x-Test_fp16_op18.onnx"
    assert full.parity.worst < half.parity.worst <= half.parity.tolerance == 1 / 255
    assert run(half.path, np.zeros((1, 3, 5, 6), np.float16)).dtype == np.float16


class _Wrong(nn.Module):
    """A network that computes something else once it is traced."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault, self.inner = fault, NanoOptions(num_feat=4, num_blocks=1).build().eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        upscaled: torch.Tensor = self.inner(x)
        if not torch.compiler.is_compiling():
            return upscaled
        if self.fault == "value":
            return upscaled + 2e-4
        if self.fault == "nan":
            return upscaled / (x.mean() - x.mean())
        if self.fault == "size":
            return upscaled[..., :64, :64]
        return torch.nn.functional.interpolate(upscaled, scale_factor=2.0)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("value", "differs from the network by more than 1.0e-04"),
        ("nan", "differs from the network"),
        ("size", "finds scale None|one size|turns|does not run"),
        ("scale", "finds scale 4.0 in the graph, but the network has 2"),
    ],
)
def test_a_graph_that_is_not_the_network_is_not_written(tmp_path: Path, fault: str, message: str) -> None:
    wrong = Source(_Wrong(fault).eval(), save_metadata(NanoOptions(), 2) | {"name": "Wrong"}, Path("w"))
    (tmp_path / "kept.onnx").write_bytes(b"what was there before")
    with pytest.raises((ParityError, ExportError), match=message):
        export_onnx(wrong, tmp_path / "kept.onnx")
    with pytest.raises((ParityError, ExportError)):
        export_onnx(wrong, tmp_path / "new.onnx")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("kept.onnx", b"what was there before")]


@pytest.mark.slow
def test_a_graph_for_one_size_only_is_refused(tmp_path: Path) -> None:
    given = source(NanoOptions.published(num_feat=4, num_blocks=1))
    with pytest.raises((ParityError, ExportError), match=r"(?s)for a single image size only.*--size 256x256"):
        export_onnx(given, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_tiles_of_an_exported_graph_are_the_whole_image(tmp_path: Path) -> None:
    """Tiling uses the receptive field and windows of the network, which are in the file's metadata."""
    done = export_onnx(source(NanoOptions(num_feat=4, use_attention=True, attention_window=12)), tmp_path)
    upscaler = paragonsr.load(done.path, device="cpu")
    image = np.random.default_rng(0).random((70, 61, 3), dtype=np.float32)
    whole = upscaler.upscale(image, tile=0)
    np.testing.assert_allclose(upscaler.upscale(image, tile=20), whole, rtol=0, atol=1e-5)


def test_for_one_size_where_it_is_wanted(tmp_path: Path) -> None:
    done = export_onnx(source(NanoOptions(num_feat=4)), tmp_path, size=(20, 24))
    assert done.path.name == "2x-Test_1x3x20x24_fp32_op18.onnx"
    assert set(done.parity.differences) == {(1, 20, 24)}
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        run(done.path, np.zeros((1, 3, 21, 24), np.float32))


@pytest.mark.parametrize(
    ("target", "opset", "message"),
    [
        ("x.pth", 18, "must end in .onnx"),
        ("file.txt/x.onnx", 18, "a folder is needed there"),
        ("x.onnx", 17, "opset 17"),
    ],
)
def test_what_cannot_be_written_is_told_first(tmp_path: Path, target: str, opset: int, message: str) -> None:
    (tmp_path / "file.txt").write_bytes(b"")
    with pytest.raises(UserError, match=message):
        export_onnx(source(NanoOptions()), tmp_path / target, opset=opset)
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = source(NanoOptions(num_feat=4))
    save_weights(
        tmp_path / "2x_Mine.safetensors", given.network.state_dict(), save_metadata(NanoOptions(num_feat=4), 2)
    )
    weights = open_source(tmp_path / "2x_Mine.safetensors")
    assert weights.name == "2x-Mine"
    assert type(load_network(weights.path)) is type(weights.network)
    with pytest.raises(SystemExit) as ended:
        main(["export", str(weights.path), str(tmp_path / "not" / "there"), "--opset", "20"])
    assert ended.value.code == 0
    assert (tmp_path / "not" / "there" / "2x-Mine_fp32_op20.onnx").is_file()
    assert "181 x 240  differs from PyTorch by" in capsys.readouterr().out
