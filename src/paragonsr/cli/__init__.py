"""Command line. One file per command; each is thin and imports heavy modules only when it runs."""

import errno
import importlib.metadata
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from paragonsr.cli import (
    archs,
    check,
    compare,
    convert,
    degrade,
    demo,
    explain,
    export,
    init,
    models,
    publish,
    replay,
    report,
    runs,
    schema,
    serve,
    train,
    upscale,
    validate,
)
from paragonsr.cli.data import data
from paragonsr.errors import UserError

app = typer.Typer(
    name="paragonsr",
    help="Train, evaluate and use networks for single-image super-resolution.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    rich_markup_mode=None,  # rich takes a quarter of the time of --help
    pretty_exceptions_enable=False,
)
for _command in (
    train.train,
    init.init,
    check.check,
    upscale.upscale,
    validate.validate,
    compare.compare,
    explain.explain,
    report.report,
    replay.replay,
    runs.runs,
    export.export,
    convert.convert,
    publish.publish,
    serve.serve,
    models.models,
    archs.archs,
    schema.schema,
    degrade.degrade,
    demo.demo,
):
    app.command()(_command)
app.add_typer(data)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"paragonsr {importlib.metadata.version('paragonsr')}")
        raise typer.Exit


@app.callback(no_args_is_help=True)
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options of the program itself."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command `paragonsr`. Exits with 0, 1 (internal error) or 2 (user error)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        app(args=[argument for argument in given if argument != "--debug"], standalone_mode=True)
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our output has closed the pipe (paragonsr ... | head); this is not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if debug:
            traceback.print_exc()
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            _failed(error)
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"error: {where}{error.strerror}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if debug:
            traceback.print_exc()
        _failed(error)


def _failed(error: Exception) -> NoReturn:
    print(f"failed: {type(error).__name__}: {error}", file=sys.stderr)
    print("  this is a bug in paragonsr; rerun with --debug for a traceback", file=sys.stderr)
    sys.exit(1)
