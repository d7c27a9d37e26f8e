"""paragonsr export W OUT.onnx"""

import re
from pathlib import Path
from typing import Annotated

import typer

from paragonsr.cli.convert import PARAM_KEY, network_options


def export(
    weights: Annotated[Path, typer.Argument(help="Weights: .safetensors or .pth, or the folder of a run.")],
    out: Annotated[Path, typer.Argument(help="The .onnx file, or a folder for it, created if needed.")] = Path("."),
    fp16: Annotated[bool, typer.Option("--fp16", help="Half precision, including input and output.")] = False,
    opset: Annotated[int, typer.Option(help="ONNX opset, 18 or newer.")] = 18,
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH, for networks that export for one size only.")] = None,
    arch: Annotated[str | None, typer.Option(help="Network, if the weights do not name it.")] = None,
    scale: Annotated[int | None, typer.Option(help="Scale, if it does not follow from the weights.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="option=value of the network.")] = None,
    param_key: Annotated[str | None, typer.Option(help=PARAM_KEY)] = None,
) -> None:
    """Export a network to ONNX for every image size, after checking it in ONNX Runtime against PyTorch.

    Examples:

        paragonsr export experiments/my_run model.onnx

        paragonsr export weights.safetensors models/ --fp16
    """
    from paragonsr.errors import UserError
    from paragonsr.export.onnx import export_onnx
    from paragonsr.export.source import open_source

    sides = None if size is None else re.fullmatch(r"(\d+)x(\d+)", size)
    if size is not None and sides is None:
        raise UserError(f"{size} is not a size", where="--size", fix="Write HEIGHTxWIDTH, for example 256x256.")
    source = open_source(weights, arch, scale, **network_options(settings, param_key))
    typer.echo(f"{source.name}: exporting; a large network with attention takes minutes")
    done = export_onnx(source, out, fp16=fp16, opset=opset, size=(int(sides[1]), int(sides[2])) if sides else None)
    for (batch, height, width), difference in done.parity.differences.items():
        typer.echo(f"  {batch} x 3 x {height:3} x {width:3}  differs from PyTorch by {difference:.1e}")
    mebibytes = done.path.stat().st_size / 2**20
    typer.echo(
        f"{done.path}: x{source.scale}, {done.precision}, opset {done.opset}, {mebibytes:.2f} MiB; "
        f"all within {done.parity.tolerance:.1e}"
    )
