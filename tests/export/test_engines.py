"""Exports for other engines and precisions: run in the real engine beside PyTorch, or nothing is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import paragonsr
from paragonsr.archs.classic_options import NanoOptions, SOptions
from paragonsr.archs.release_options import StreamOptions
from paragonsr.archs.weights import save_metadata
from paragonsr.cli import main
from paragonsr.errors import UserError
from paragonsr.export import packages
from paragonsr.export.onnx import ExportError, export_onnx, tensorrt_command
from paragonsr.export.parity import ParityError
from paragonsr.export.source import Source

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

KINDS: dict[str, Any] = {
    "luma": NanoOptions(luma_body=True),
    "rgb": NanoOptions(),
    "dual": SOptions(structure="dual", num_feat=8, num_blocks=2, use_channel_mod=False, use_content_aware=False),
    "stream": StreamOptions(num_feat=8, num_groups=1, num_blocks=1),
}


def source(options: Any, scale: int = 2) -> Source:
    network: nn.Module = options.build(scale=scale).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return Source(network, save_metadata(options, scale) | {"name": "Test"}, Path("2x_Test.safetensors"))


def command(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["export", *map(str, arguments)])
    return int(ended.value.code or 0)


class _Wrong(nn.Module):
    """A network that computes something else once it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.scale = NanoOptions(num_feat=4, num_blocks=1).build().eval(), 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        upscaled: torch.Tensor = self.inner(x)
        traced = torch.jit.is_tracing() or torch.compiler.is_compiling()
        return upscaled + 2e-3 if traced else upscaled


def wrong() -> Source:
    given = source(NanoOptions(num_feat=4, num_blocks=1))
    return Source(_Wrong().eval(), given.metadata, given.path)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_ncnn(tmp_path: Path, kind: str, half: bool) -> None:
    ncnn = pytest.importorskip("ncnn")
    pytest.importorskip("pnnx")
    from paragonsr.export.ncnn import export_ncnn

    given = source(KINDS[kind])
    path, parity = export_ncnn(given, tmp_path, half=half)
    assert path.name == "2x-Test.param"
    assert parity.worst < (1 / 255 if half else 1e-4)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["2x-Test.bin", "2x-Test.param"]
    net = ncnn.Net()
    net.load_param(str(path))
    net.load_model(str(path.with_suffix(".bin")))
    image = np.random.default_rng(1).random((3, 21, 100), dtype=np.float32)
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(image))
    found = np.array(extractor.extract("output")[1])
    with torch.no_grad():
        expected = given.network(torch.from_numpy(image)[None])[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1 / 255 if half else 1e-4)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_openvino(tmp_path: Path, kind: str, half: bool) -> None:
    openvino = pytest.importorskip("openvino")
    from paragonsr.export.openvino import export_openvino

    given = source(KINDS[kind])
    path, parity = export_openvino(given, tmp_path, half=half)
    assert parity.worst < (1 / 255 if half else 1e-4)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["2x-Test_openvino.bin", "2x-Test_openvino.xml"]
    image = np.random.default_rng(1).random((3, 3, 21, 100), dtype=np.float32)
    found = openvino.Core().compile_model(path, "CPU")(image)[0]
    with torch.no_grad():
        expected = given.network(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(found, expected, atol=1 / 255)


@pytest.mark.parametrize("name", ["ncnn", "openvino"])
def test_a_file_that_computes_something_else_is_not_written(tmp_path: Path, name: str) -> None:
    pytest.importorskip(name)
    module = __import__(f"paragonsr.export.{name}", fromlist=["x"])
    with pytest.raises(ParityError, match="differs from the network by more than"):
        getattr(module, f"export_{name}")(wrong(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_network_that_pnnx_cannot_convert_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    from paragonsr.export.ncnn import export_ncnn

    given = source(NanoOptions(use_attention=True, attention_window=8))
    with pytest.raises((ExportError, ParityError)):
        export_ncnn(given, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("precision", "kind", "smaller"),
    [("fp16-fp32io", "float", 0.75), ("bf16", "float", 0.95), ("fp16", "float16", 0.75)],
)
def test_precisions(tmp_path: Path, precision: str, kind: str, smaller: float) -> None:
    given = source(KINDS["rgb"])
    full, done = (export_onnx(given, tmp_path, precision=p) for p in ("fp32", precision))
    assert done.path.name == f"2x-Test_{precision}_op18.onnx"
    assert done.parity.worst < 1 / 255
    assert done.path.stat().st_size < smaller * full.path.stat().st_size
    session = onnxruntime.InferenceSession(done.path)
    assert session.get_inputs()[0].type == session.get_outputs()[0].type == f"tensor({kind})"
    onnx.checker.check_model(onnx.load(done.path), full_check=True)


def test_int8_keeps_the_psnr_or_is_not_written(
    tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ("--images", shared / "data/benchmark/Set14/HR", "--validation", shared / "data/benchmark/Set5/HR")
    out = tmp_path / "out"
    assert command("nano", out, "--precision", "int8", *folders) == 2
    assert "int8 loses 0.1" in capsys.readouterr().err
    assert not out.exists()
    assert command("nano", out, "--precision", "int8", *folders, "--max-loss", "0.2") == 0
    (file,) = out.iterdir()
    assert file.name == "2x-nano_int8_op18.onnx"
    entries = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert json.loads(entries["paragonsr"])["export"]["precision"] == "int8"
    image = (torch.rand(13, 18, 3) * 255).to(torch.uint8).numpy()
    assert paragonsr.load(file).upscale(image).shape == (26, 36, 3)


def test_int8_takes_the_photographs_of_the_run(tmp_path: Path, tiny_config: Callable[..., Path]) -> None:
    from paragonsr.config import load_config
    from paragonsr.training.run import train

    outcome = train(load_config(tiny_config()).config)
    assert command(outcome.folder, tmp_path / "int8.onnx", "--precision", "int8", "--max-loss", "5") == 0
    assert (tmp_path / "int8.onnx").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "coreml"], "unknown format 'coreml'"),
        (["--precision", "fp8"], "unknown precision 'fp8'"),
        (["--format", "ncnn", "--precision", "int8"], "ncnn takes fp32 or fp16"),
        (["--precision", "int8"], "int8 needs photographs"),
        (["--precision", "int8", "--images", "nowhere", "--validation", "nowhere"], "no images"),
    ],
)
def test_what_cannot_be_is_answered(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("nano", tmp_path / "out", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "package"), [("ncnn", "pnnx"), ("openvino", "openvino")])
def test_a_missing_package_is_named_with_its_command(
    tmp_path: Path, name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda wanted: None if wanted == package else object())
    with pytest.raises(UserError, match=f"needs {package}") as error:
        packages.require(name, package)
    assert error.value.fix == f"pip install 'paragonsr[{name}]'"


def test_the_command_for_tensorrt() -> None:
    said = tensorrt_command(Path("a/2x-N_fp16_op18.onnx"), "fp16", None)
    assert said == (
        "trtexec --onnx=2x-N_fp16_op18.onnx --saveEngine=2x-N_fp16_op18.engine --minShapes=input:1x3x8x8 "
        "--optShapes=input:1x3x540x960 --maxShapes=input:1x3x1080x1920 --fp16 --inputIOFormats=fp16:chw "
        "--outputIOFormats=fp16:chw"
    )
    assert "Shapes" not in tensorrt_command(Path("x.onnx"), "fp32", (256, 256))
