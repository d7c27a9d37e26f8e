"""paragonsr export W OUT.onnx"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paragonsr.cli.convert import PARAM_KEY, network_options

if TYPE_CHECKING:
    from paragonsr.export.parity import Parity
    from paragonsr.export.source import Source

FORMATS = ("onnx", "ncnn", "openvino")
PRECISION = (
    "fp32, fp16, fp16-fp32io (float32 input and output), bf16 (weights only) or int8; ncnn and openvino: fp32 or fp16."
)
IMAGES = "int8: folder of HR photographs for the ranges of the activations; default: the training images of the run."
VALIDATION = "int8: folder of HR images on which PSNR is compared; default: those of the run."


def export(
    weights: Annotated[Path, typer.Argument(help="Weights: .safetensors or .pth, or the folder of a run.")],
    out: Annotated[Path, typer.Argument(help="The file, or a folder for it, created if needed.")] = Path("."),
    program: Annotated[str, typer.Option("--format", help="onnx, ncnn or openvino.")] = "onnx",
    precision: Annotated[str, typer.Option(help=PRECISION)] = "fp32",
    images: Annotated[Path | None, typer.Option(help=IMAGES, show_default=False)] = None,
    validation: Annotated[Path | None, typer.Option(help=VALIDATION, show_default=False)] = None,
    max_loss: Annotated[float, typer.Option(help="int8: largest accepted loss of PSNR-Y, in dB.")] = 0.1,
    opset: Annotated[int, typer.Option(help="ONNX opset, 18 or newer.")] = 18,
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH, for networks that export for one size only.")] = None,
    arch: Annotated[str | None, typer.Option(help="Network, if the weights do not name it.")] = None,
    scale: Annotated[int | None, typer.Option(help="Scale, if it does not follow from the weights.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="option=value of the network.")] = None,
    param_key: Annotated[str | None, typer.Option(help=PARAM_KEY)] = None,
) -> None:
    """Export a network for other engines, after checking it in the engine against PyTorch.

    Examples:

        paragonsr export experiments/2x_Nano out.onnx

        paragonsr export nano models/ --format ncnn
    """
    from paragonsr.errors import UserError
    from paragonsr.export.source import open_source

    sides = None if size is None else re.fullmatch(r"(\d+)x(\d+)", size)
    if size is not None and sides is None:
        raise UserError(f"{size} is not a size", where="--size", fix="Write HEIGHTxWIDTH, for example 256x256.")
    if program not in FORMATS:
        raise UserError(f"unknown format {program!r}", where="--format", fix=f"Use one of {', '.join(FORMATS)}.")
    if program != "onnx" and (precision not in ("fp32", "fp16") or sides):
        raise UserError(f"{program} takes fp32 or fp16, and no size", where="--precision")
    source = open_source(weights, arch, scale, **network_options(settings, param_key))
    typer.echo(f"{source.name}: exporting; a large network with attention takes minutes")
    if program == "onnx" and precision == "int8":
        _int8(source, out, images, validation, max_loss)
    elif program == "onnx":
        _onnx(source, out, precision, opset, (int(sides[1]), int(sides[2])) if sides else None)
    else:
        _other(program, source, out, half=precision == "fp16")


def _onnx(source: "Source", out: Path, precision: str, opset: int, size: tuple[int, int] | None) -> None:
    from paragonsr.export.onnx import export_onnx, tensorrt_command

    done = export_onnx(source, out, precision=precision, opset=opset, size=size)
    _tell(done.path, source, f"{done.precision}, opset {done.opset}", done.parity)
    typer.echo(f"for TensorRT: {tensorrt_command(done.path, precision, size)}")


def _int8(source: "Source", out: Path, images: Path | None, validation: Path | None, max_loss: float) -> None:
    from paragonsr.export.quantise import export_int8, folders_of_run

    images, validation = folders_of_run(source, images, validation)
    done = export_int8(source, out, images, validation, max_loss)
    typer.echo(f"{done.path}: x{source.scale}, int8; PSNR-Y {done.fp32:.3f} dB in fp32, {done.int8:.3f} dB in int8")


def _other(program: str, source: "Source", out: Path, *, half: bool) -> None:
    if program == "ncnn":
        from paragonsr.export.ncnn import export_ncnn as write
    else:
        from paragonsr.export.openvino import export_openvino as write

    path, parity = write(source, out, half=half)
    _tell(path, source, f"{program}, {'fp16' if half else 'fp32'}", parity)


def _tell(path: Path, source: "Source", kind: str, parity: "Parity") -> None:
    for (batch, height, width), difference in parity.differences.items():
        typer.echo(f"  {batch} x 3 x {height:3} x {width:3}  differs from PyTorch by {difference:.1e}")
    files = [path] if path.suffix == ".onnx" else [path, path.with_suffix(".bin")]
    mebibytes = sum(file.stat().st_size for file in files) / 2**20
    typer.echo(f"{path}: x{source.scale}, {kind}, {mebibytes:.2f} MiB; all within {parity.tolerance:.1e}")
