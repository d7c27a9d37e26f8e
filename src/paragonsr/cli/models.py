"""paragonsr models [NAME]"""

import json
from typing import Annotated

import typer


def models(
    name: Annotated[str | None, typer.Argument(help="Model whose complete card is shown.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the bundled models: their metric values, and what they were trained on.

    Examples:

        paragonsr models

        paragonsr models nano
    """
    from paragonsr import models as shipped
    from paragonsr.errors import UserError

    known = shipped.names()
    if name is not None and name not in known:
        raise UserError(f"unknown model {name!r}", fix=f"Choose from {', '.join(known)}.")
    if name is not None or as_json:
        cards = {key: shipped.card(key) | {"weights": str(shipped.FOLDER / f"{key}.safetensors")} for key in known}
        typer.echo(json.dumps(cards if name is None else cards[name], indent=2))
        return
    sets = ("Set5", "Set14", "B100")
    shown = [("model", "scale", "parameters", *(f"{found} Y / RGB" for found in sets), "licence")]
    for key in known:
        card = shipped.card(key)
        values = (card["measured"][found] for found in sets)
        cells = (f"{value['psnr_y']:.2f} / {value['psnr']:.2f}" for value in values)
        shown.append((key, f"x{card['scale']}", f"{card['parameters']:,}", *cells, card["licence"]))
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for line in shown:
        typer.echo("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    typer.echo("\nPSNR in dB by the benchmark protocol, on Y and on RGB. Every command accepts --model NAME.")
