"""paragonsr convert IN OUT"""

from pathlib import Path
from typing import Annotated, Any

import typer

PARAM_KEY = "Set of weights in a .pth file: params, params_ema, ...; default: the EMA weights, if there are any."


def convert(
    weights: Annotated[Path, typer.Argument(help="Weights of ours or of another project: .safetensors, .pth.")],
    out: Annotated[Path, typer.Argument(help="The .safetensors file, or a folder for it.")],
    arch: Annotated[str | None, typer.Option(help="Network, if the file does not name it.")] = None,
    scale: Annotated[int | None, typer.Option(help="Scale, if it does not follow from the file.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Network option=value; repeatable.")] = None,
    param_key: Annotated[str | None, typer.Option(help=PARAM_KEY)] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model; default: that of its run or file.")] = None,
    program: Annotated[
        str | None, typer.Option("--for", help="spandrel: a file that chaiNNer, ComfyUI and others load.")
    ] = None,
) -> None:
    """Convert weights to safetensors that describe their network. No code in a file is ever run.

    Examples:

        paragonsr convert old.pth models/

        paragonsr convert experiments/my_run my_model.safetensors --for spandrel
    """
    from dataclasses import replace

    from paragonsr.errors import UserError
    from paragonsr.export.convert import convert as write
    from paragonsr.export.convert import convert_for_spandrel
    from paragonsr.export.source import open_source

    source = open_source(weights, arch, scale, **network_options(settings, param_key))
    if name is not None:
        source = replace(source, metadata=source.metadata | {"name": name})
    if program not in (None, "spandrel"):
        raise UserError(f"unknown program {program!r}", where="--for", fix="Use spandrel.")
    written = (write if program is None else convert_for_spandrel)(source, out)
    options = written.metadata["options"]
    typer.echo(f"{written.path}: {options.get('network', written.metadata['arch'])} x{written.scale}")
    if program is not None and "network" not in options:
        typer.echo("no architecture of spandrel computes the same: load it with the plug-in (docs/use.md)")


def network_options(settings: list[str] | None, param_key: str | None = None) -> dict[str, Any]:
    """Parse the options of a network from option=value arguments; `arguments.key=value` sets a nested key.

    Args:
        settings: the arguments.
        param_key: value of --param-key, the set of weights to load.
    """
    from paragonsr.config.yaml import parse_scalar
    from paragonsr.errors import UserError

    options: dict[str, Any] = {} if param_key is None else {"key": param_key}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise UserError(f"{setting!r} is not an option", where="--set", fix="Write option=value: use_norm=true.")
        *sections, last = name.split(".")
        here = options
        for section in sections:
            here = here.setdefault(section, {})
        here[last] = parse_scalar(value)
    return options
