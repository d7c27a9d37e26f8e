"""paragonsr convert IN OUT"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

PARAM_KEY = "Set of weights in a .pth file: params, params_ema, ...; default: the averaged ones first."


def convert(
    weights: Annotated[Path, typer.Argument(help="Weights of this family or of another project: .safetensors, .pth.")],
    out: Annotated[Path, typer.Argument(help="The .safetensors file, or a folder for it.")],
    arch: Annotated[str | None, typer.Option(help="Needed where the tensors do not say it.")] = None,
    scale: Annotated[int | None, typer.Option(help="Needed where the tensors do not say it.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="option=value of the network; repeat it.")] = None,
    param_key: Annotated[str | None, typer.Option(help=PARAM_KEY)] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model; default: that of its run or file.")] = None,
    openmodeldb: Annotated[Path | None, typer.Option(help="Also write the JSON for OpenModelDB to this file.")] = None,
) -> None:
    """Write weights as safetensors that say what they are. No code in a file is ever run."""
    from dataclasses import replace

    from paragonsr.export.convert import convert as write
    from paragonsr.export.openmodeldb import openmodeldb as describe
    from paragonsr.export.source import open_source
    from paragonsr.files import write_atomically

    source = open_source(weights, arch, scale, **network_options(settings, param_key))
    if name is not None:
        source = replace(source, metadata=source.metadata | {"name": name})
    written = write(source, out)
    typer.echo(f"{written.path}: {written.metadata['arch']} x{written.scale}")
    if openmodeldb is not None:
        described = json.dumps(describe(source, [written.path]), indent=2) + "\n"
        write_atomically(openmodeldb, described.encode())
        typer.echo(f"{openmodeldb}: author, license, description, images and urls are left for you to fill in")


def network_options(settings: list[str] | None, param_key: str | None = None) -> dict[str, Any]:
    """The options of a network from option=value arguments; `arguments.key=value` goes one level down.

    Args:
        settings: the arguments.
        param_key: value of --param-key, which set of weights is loaded.
    """
    from paragonsr.config.yaml import parse_scalar
    from paragonsr.errors import UserError

    options: dict[str, Any] = {} if param_key is None else {"key": param_key}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise UserError(f"{setting!r} is not an option", where="--set", fix="Write option=value, as use_norm=true.")
        *sections, last = name.split(".")
        here = options
        for section in sections:
            here = here.setdefault(section, {})
        here[last] = parse_scalar(value)
    return options
