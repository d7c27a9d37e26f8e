"""paragonsr upscale IN OUT --model W"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paragonsr.cli.convert import PARAM_KEY, network_options

if TYPE_CHECKING:
    from paragonsr.inference.model import Tile

MODEL = (
    "Weights: .safetensors, .pth or .onnx, the folder of a run, or a name from `paragonsr models`; default: the best "
    "bundled one that makes a megapixel per second on this machine."
)
TILE = "Side of a tile in LR pixels, auto, or off for whole images."
ENSEMBLE = "x8: average over the eight flips and rotations; takes eight times as long."
PRECISION = "fp32, bf16 or fp16."
ENGINE = (
    "auto, torch, onnxruntime or openvino; auto: the fastest on the first image, where an .onnx file lies beside the "
    "weights."
)


def upscale(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Image or folder: PNG, JPEG, WebP, TIFF, AVIF, BMP.")],
    out: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="Image or folder; default: IN_x2 next to IN.", show_default=False),
    ] = None,
    model: Annotated[Path | None, typer.Option(help=MODEL, show_default=False)] = None,
    tile: Annotated[str, typer.Option(help=TILE)] = "auto",
    ensemble: Annotated[str | None, typer.Option(help=ENSEMBLE)] = None,
    precision: Annotated[str, typer.Option(help=PRECISION)] = "fp32",
    engine: Annotated[str, typer.Option(help=ENGINE)] = "auto",
    ending: Annotated[
        str | None, typer.Option("--format", help="png, jpg, webp or tiff; default: same as the input.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Also redo finished images.")] = False,
    arch: Annotated[str | None, typer.Option(help="Network, if the weights do not name it.")] = None,
    scale: Annotated[int | None, typer.Option(help="Scale, if it does not follow from the weights.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Network option=value; repeatable.")] = None,
    param_key: Annotated[str | None, typer.Option(help=PARAM_KEY)] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: the GPU if there is one.")] = None,
) -> None:
    """Upscale images. Finished ones are skipped; an unreadable image does not stop the others.

    Examples:

        paragonsr upscale photo.jpg

        paragonsr upscale holiday/ holiday_x2/ --model experiments/2x_Nano --engine openvino
    """
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from paragonsr.data.walk import described
    from paragonsr.errors import UserError
    from paragonsr.export.engines import use_engine
    from paragonsr.inference.folder import Summary, plan, upscale_files
    from paragonsr.inference.model import load

    side, turned = tile_side(tile), ensemble_x8(ensemble)
    model = model or _chosen(scale, device, precision)
    named = network_options(settings, param_key)
    upscaler = load(model, arch, scale, device, precision=precision, ensemble=turned, **named)
    use_engine(upscaler, engine, model)
    out = out or source.with_name(f"{source.stem}_x{upscaler.scale}{source.suffix}")
    passed_over: Counter[str] = Counter()
    chosen = None if ending is None else f".{ending.lower().lstrip('.')}"
    jobs = plan(source, out, chosen, passed_over)
    console, begun = Console(stderr=True), time.perf_counter()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(jobs))

        def told(summary: Summary) -> None:
            megapixels = summary.megapixels + summary.megapixels_under_way
            speed = megapixels / (time.perf_counter() - begun)
            finished = summary.done + summary.skipped + len(summary.failed) + summary.under_way
            bar.update(task, completed=finished, description=f"{speed:.2f} MP/s")

        summary = upscale_files(upscaler, jobs, tile=side, overwrite=overwrite, progress=told)
    seconds = time.perf_counter() - begun
    by = getattr(upscaler.network, "chosen", None)
    skipped = f", {summary.skipped} already done" if summary.skipped else ""
    typer.echo(
        f"{summary.done} of {len(jobs)} images upscaled x{upscaler.scale}{skipped}: {summary.megapixels:.2f} MP in "
        f"{seconds:.1f} s, {summary.megapixels / seconds:.2f} MP/s{' (ensemble x8)' if turned else ''}"
        f"{f' by {by}' if by else ''}"
    )
    if passed_over:
        typer.echo(f"skipped, not images: {described(passed_over)}")
    if summary.failed:
        listed = "\n".join(f"  {file}: {why}" for file, why in summary.failed.items())
        raise UserError(f"{len(summary.failed)} of {len(jobs)} images could not be upscaled\n{listed}")


def _chosen(scale: int | None, device: str | None, precision: str) -> Path:
    """Choose the model for this machine if none is given, and print its name."""
    from paragonsr.inference.choice import best_model

    name, speed = best_model(scale or 2, device, precision)
    typer.echo(f"using the model {name}, {speed:.1f} megapixels of output per second here; --model chooses another")
    return Path(name)


def tile_side(tile: str) -> "Tile":
    """Parse the value of --tile."""
    from paragonsr.errors import UserError
    from paragonsr.inference.tiler import SMALLEST

    if tile == "auto":
        return "auto"
    if tile == "off":
        return 0
    if tile.isdecimal() and int(tile) >= SMALLEST:
        return int(tile)
    raise UserError(f"{tile!r} is not a tile size", where="--tile", fix=f"Use auto, off, or a number from {SMALLEST}.")


def ensemble_x8(ensemble: str | None) -> bool:
    """Parse the value of --ensemble."""
    from paragonsr.errors import UserError

    if ensemble not in (None, "x8"):
        raise UserError(f"unknown ensemble {ensemble!r}", where="--ensemble", fix="Use x8.")
    return ensemble is not None
