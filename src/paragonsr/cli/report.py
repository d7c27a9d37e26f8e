"""paragonsr report RUN"""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run: experiments/<name>.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; default: report.html in the run's folder.")] = None,
) -> None:
    """Write a self-contained HTML page about a run: curves, decisions, crops, configuration.

    Examples:

        paragonsr report experiments/my_run

        paragonsr report experiments/my_run --out my_run.html
    """
    from paragonsr.evidence.report_page import report_page
    from paragonsr.evidence.runs import Run
    from paragonsr.files import write_atomically

    target = out or run / "report.html"
    write_atomically(target, report_page(Run(run)).encode())
    typer.echo(f"report in {target}")
