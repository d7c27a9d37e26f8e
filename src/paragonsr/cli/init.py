"""paragonsr init PHOTOS"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from paragonsr.cli.choices import ForOption, ScaleOption, SizeOption
from paragonsr.errors import UserError


def init(
    photos: Annotated[Path | None, typer.Argument(help="Folder of photographs.", show_default=False)] = None,
    scale: ScaleOption = None,
    size: SizeOption = None,
    time: ForOption = None,
    out: Annotated[Path | None, typer.Option(help="YAML file to write. [default: named by the run]")] = None,
    force: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
) -> None:
    """Write a commented configuration for a folder of photographs; on a terminal, missing values are asked for.

    Examples:

        paragonsr init

        paragonsr init photos --scale 4 --size tiny --for 6h --out photos.yml
    """
    from paragonsr.recipes.photos import SCALES, SIZES, Recipe

    defaults = Recipe(Path())
    asks = sys.stdin.isatty() and sys.stdout.isatty()
    if photos is None:
        if not asks:
            raise UserError("no folder of photographs is given", fix="paragonsr init PHOTOS --scale 4")
        photos = Path(typer.prompt("Folder of photographs")).expanduser()
    if scale is None:
        scale = int(_asked("Upscaling factor", defaults.scale, SCALES)) if asks else defaults.scale
    if size is None:
        size = _asked("Size of the network", defaults.size, SIZES) if asks else defaults.size
    if time is None:
        time = typer.prompt("Train for", default=defaults.time) if asks else defaults.time
    recipe = Recipe(photos, scale, size, time)
    file = out or Path(f"{recipe.name}.yml")
    if file.exists() and not force:
        raise UserError("this file already exists", where=str(file), fix="Give another --out, or --force.")
    recipe.write(file, ["paragonsr", *sys.argv[1:]])
    typer.echo(f"wrote {file}")
    typer.echo(f"  look at it   paragonsr check {shlex.quote(str(file))}")
    typer.echo(f"  train        paragonsr train {shlex.quote(str(file))}")


def _asked(question: str, default: object, choices: tuple[object, ...]) -> str:
    """Ask until the answer is one of the choices."""
    named = [str(choice) for choice in choices]
    while (given := str(typer.prompt(f"{question} ({', '.join(named)})", default=str(default)))) not in named:
        typer.echo(f"  {given} is not one of the choices")
    return given
