"""paragonsr demo"""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from paragonsr.recipes import DEMO


def demo(
    config: Annotated[
        Path | None, typer.Option(help="YAML configuration; default: the bundled one.", show_default=False)
    ] = None,
    images: Annotated[Path, typer.Option(help="Folder for the images.")] = Path("datasets/demo"),
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value", show_default=False)] = None,
) -> None:
    """Train a small network on images that come with the installation: a minute or two on a CPU.

    Examples:

        paragonsr demo

        paragonsr demo train.total_iter=500
    """
    from paragonsr.cli.train import run
    from paragonsr.config import load_config
    from paragonsr.data.demo import make_demo_images

    folders = [f"datasets.{phase}.dataroot_gt={images / phase}" for phase in ("train", "val")]
    loaded = load_config(config or DEMO, [*folders, *(overrides or [])])
    make_demo_images(images)
    run(loaded.config, loaded.warnings, fresh=False, command=shlex.join(["paragonsr", "demo", *(overrides or [])]))
