"""paragonsr validate --model W --hr DIR"""

import json
from pathlib import Path
from typing import Annotated

import typer


def validate(
    model: Annotated[Path, typer.Option(help="Weights: .safetensors or .pth.")],
    hr: Annotated[Path, typer.Option(help="Folder of HR images.")],
    lr: Annotated[Path | None, typer.Option(help="Folder of LR images; made by MATLAB's bicubic if not given.")] = None,
    scale: Annotated[int | None, typer.Option(help="Needed where the weights do not say it.")] = None,
    arch: Annotated[str | None, typer.Option(help="Needed where the weights do not say it.")] = None,
    tile: Annotated[int, typer.Option(help="Tile side in LR pixels; 0 takes each image whole.")] = 0,
    out: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")] = None,
) -> None:
    """PSNR and SSIM on the Y channel by the benchmark protocol, per image and mean, bicubic beside it."""
    from paragonsr.inference.benchmark import benchmark
    from paragonsr.inference.model import load

    upscaler = load(model, arch=arch, scale=scale)
    table = benchmark(upscaler, hr, lr, tile=tile)
    for line in table.lines():
        typer.echo(line)
    if out is not None:
        out.write_text(json.dumps(table.as_dict(), indent=2) + "\n", encoding="utf-8")
