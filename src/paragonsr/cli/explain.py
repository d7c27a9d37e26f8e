"""paragonsr explain CONFIG"""

from pathlib import Path
from typing import Annotated

import typer


def explain(
    config: Annotated[Path, typer.Argument(help="YAML configuration.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value", show_default=False)] = None,
) -> None:
    """Explain what each automation will watch and may change for this network and these images, and its settings.

    Examples:

        paragonsr explain my.yml

        paragonsr explain my.yml train.optim_g.lr=auto
    """
    from paragonsr.config import load_config
    from paragonsr.training.explain import explanation

    for line in explanation(load_config(config, overrides or []).config):
        typer.echo(line)
