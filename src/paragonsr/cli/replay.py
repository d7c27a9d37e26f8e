"""paragonsr replay RUN"""

from pathlib import Path
from typing import Annotated

import typer


def replay(run: Annotated[Path, typer.Argument(help="Folder of a run: experiments/<name>.")]) -> None:
    """Make all decisions of a run again from what it observed; exits with 1 where they differ from its journal."""
    from paragonsr.training.replay import replay as again

    made = again(run)
    differences = list(made.differences())
    for difference in differences:
        typer.echo(difference, err=True)
    if differences:
        raise typer.Exit(1)
    count = len(made.again)
    typer.echo(f"{count} {'decision' if count == 1 else 'decisions'}, all as in the journal")
