"""paragonsr runs [FOLDER]"""

import json
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from paragonsr.errors import UserError


class Column(StrEnum):
    """Columns that runs can be sorted by."""

    NAME = "name"
    STATE = "state"
    ITERATION = "iteration"
    BEST = "best"
    ARCH = "arch"
    SECONDS = "seconds"
    STARTED = "started"


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder of runs.")] = Path("experiments"),
    sort: Annotated[Column, typer.Option(help="Column to sort by.")] = Column.STARTED,
    reverse: Annotated[bool, typer.Option("--reverse", help="Largest, latest or last first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List all runs of a folder: state, iteration, best value, network, time.

    States: running, interrupted (by Ctrl-C), crashed, killed (its process is
    gone), completed, stopped (by an automation), failed (it diverged).

    Examples:

        paragonsr runs

        paragonsr runs experiments --sort best --reverse
    """
    from paragonsr.evidence.runs import find_runs

    rows = []
    for run in find_runs(folder):
        try:
            rows.append(run.summary())
        except UserError as error:  # a damaged folder must not hide the others
            typer.echo(f"skipped: {error}", err=True)
    known = sorted(
        (row for row in rows if row[sort.value] is not None), key=lambda row: row[sort.value], reverse=reverse
    )
    rows = known + [row for row in rows if row[sort.value] is None]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    shown = [("name", "state", "iteration", "best", "network", "time")]
    for row in rows:
        best = "" if row["best"] is None else f"{row['best']:.3f}"
        took = timedelta(seconds=round(row["seconds"]))
        shown.append((row["name"], row["state"], f"{row['iteration']}/{row['total']}", best, row["arch"], str(took)))
    widths = [max(len(line[i]) for line in shown) for i in range(len(shown[0]))]
    for line in shown:
        typer.echo("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
