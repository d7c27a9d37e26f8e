"""paragonsr replay RUN"""

from pathlib import Path
from typing import Annotated

import typer


def replay(run: Annotated[Path, typer.Argument(help="Folder of a run: experiments/<name>.")]) -> None:
    """Replay all decisions of a run from its recorded observations; exits with 1 if they differ from its journal.

    Examples:

        paragonsr replay experiments/my_run

        paragonsr replay /backup/my_run
    """
    from paragonsr.training.replay import replay as again

    made = again(run)
    differences = list(made.differences())
    for difference in differences:
        typer.echo(difference, err=True)
    if differences:
        raise typer.Exit(1)
    count = len(made.again)
    typer.echo(f"{count} {'decision' if count == 1 else 'decisions'}, all as in the journal")
