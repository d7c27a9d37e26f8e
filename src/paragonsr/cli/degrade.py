"""paragonsr degrade PHOTO"""

from pathlib import Path
from typing import Annotated

import typer

CONFIG = "Training configuration with a degradation, or YAML with `scale` and `degradation`."


def degrade(
    photo: Annotated[Path, typer.Argument(help="HR image, whose centre is shown.")],
    config: Annotated[
        Path | None, typer.Option(help=f"{CONFIG} Default: {{type: realesrgan}} at scale 4.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="PNG to write; default: PHOTO_degraded.png.", show_default=False)
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=200, help="Number of samples.")] = 11,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
) -> None:
    """Show what a degradation makes of a photograph: a contact sheet, with the parameters under each sample.

    Examples:

        paragonsr degrade photo.png

        paragonsr degrade photo.png --config options/train/my.yml --count 23 --out sheet.png
    """
    from paragonsr.config.degradation_file import DegradationFile, load_degradation
    from paragonsr.data.contact_sheet import contact_sheet
    from paragonsr.data.images import read_image, write_png
    from paragonsr.errors import UserError

    standard = {"scale": 4, "degradation": {"type": "realesrgan"}}
    file = DegradationFile.model_validate(standard) if config is None else load_degradation(config)
    degradation = file.degradation.build(scale=file.scale, seed=seed)
    hr = read_image(photo)
    if min(hr.shape[:2]) < file.scale:
        raise UserError(f"is smaller than the scale {file.scale}", where=str(photo))
    target = out or photo.with_name(f"{photo.stem}_degraded.png")
    write_png(target, contact_sheet(hr, degradation, file.scale, count))
    typer.echo(f"contact sheet in {target}")
