"""paragonsr validate --model W --hr DIR"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paragonsr.cli.convert import PARAM_KEY, network_options
from paragonsr.cli.upscale import ENGINE, ENSEMBLE, PRECISION, TILE, ensemble_x8, tile_side
from paragonsr.errors import UserError

METRICS = (
    "Metrics, separated by commas: psnr_y, ssim_y, psnr, ssim, ... as in val.metrics; default: psnr_y,ssim_y, and also "
    "psnr for a network whose body processes only luma."
)

if TYPE_CHECKING:
    from torch import nn

    from paragonsr.metrics.options import MetricOptions


def validate(
    model: Annotated[
        Path,
        typer.Option(
            help="Weights: .safetensors, .pth or .onnx, the folder of a run, or a name from `paragonsr models`."
        ),
    ],
    hr: Annotated[Path, typer.Option(help="Folder of HR images.")],
    lr: Annotated[Path | None, typer.Option(help="Folder of LR images; made by MATLAB's bicubic if not given.")] = None,
    scale: Annotated[int | None, typer.Option(help="Scale, if it does not follow from the weights.")] = None,
    arch: Annotated[str | None, typer.Option(help="Network, if the weights do not name it.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Network option=value; repeatable.")] = None,
    param_key: Annotated[str | None, typer.Option(help=PARAM_KEY)] = None,
    tile: Annotated[str, typer.Option(help=TILE)] = "off",
    ensemble: Annotated[str | None, typer.Option(help=ENSEMBLE)] = None,
    precision: Annotated[str, typer.Option(help=PRECISION)] = "fp32",
    engine: Annotated[str, typer.Option(help=ENGINE)] = "auto",
    metrics: Annotated[str | None, typer.Option(help=METRICS, show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--json", help="Also write the values to this file.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Also write the values to this file, as CSV.")] = None,
) -> None:
    """Measure PSNR, SSIM or other metrics by the benchmark protocol, per image and on average, and those of bicubic.

    Examples:

        paragonsr validate --model nano --hr Set5/HR

        paragonsr validate --model best.safetensors --hr Set5/HR --lr Set5/LR_bicubic/X2 --csv set5.csv
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from paragonsr.export.engines import use_engine
    from paragonsr.files import write_atomically
    from paragonsr.inference.benchmark import benchmark
    from paragonsr.inference.model import load

    side, turned = tile_side(tile), ensemble_x8(ensemble)
    named = network_options(settings, param_key)
    upscaler = load(model, arch=arch, scale=scale, precision=precision, ensemble=turned, **named)
    use_engine(upscaler, engine, model)
    chosen = _metrics(metrics or _usual(upscaler.network))
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        table = benchmark(
            upscaler,
            hr,
            lr,
            metrics=chosen,
            tile=side,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for line in table.lines():
        typer.echo(line)
    if turned:
        typer.echo("self-ensemble x8: average over eight orientations, not comparable with single inference")
    if out is not None:
        write_atomically(out, (json.dumps(table.as_dict(), indent=2) + "\n").encode())
    if csv is not None:
        write_atomically(csv, table.as_csv().encode())


def _usual(network: "nn.Module") -> str:
    """Default metrics; for a body that processes only luma, colour is measured too."""
    luma_body = getattr(getattr(network, "options", None), "luma_body", False)
    return "psnr_y,ssim_y,psnr" if luma_body else "psnr_y,ssim_y"


def _metrics(text: str) -> "dict[str, MetricOptions]":
    from paragonsr.metrics.options import MetricOptions

    chosen: dict[str, MetricOptions] = {}
    for name in filter(None, map(str.strip, text.split(","))):
        kind = MetricOptions.choose(name)
        if kind is None:
            known = ", ".join(MetricOptions.registry.names())
            raise UserError(f"unknown metric {name!r}", where="--metrics", fix=f"Choose from {known}.")
        chosen[name] = kind.model_validate({"type": kind.tag()})
    if not chosen:
        raise UserError("no metric is given", where="--metrics", fix="Write for example psnr_y,ssim_y.")
    return chosen
