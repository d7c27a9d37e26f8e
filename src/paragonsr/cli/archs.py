"""paragonsr archs"""

import json
from typing import Annotated

import typer


def archs(
    scale: Annotated[int, typer.Option(help="Scale that the values are for.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the networks: parameters, multiply-accumulates per output megapixel, receptive field, scales, precision.

    Examples:

        paragonsr archs

        paragonsr archs --scale 4
    """
    from paragonsr.archs.preset_options import presets_by_network
    from paragonsr.archs.table import rows

    found = list(rows(scale))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    shown = [("network", "parameters", "GMAC/MP", "sees", "scales", "precision", "for")]
    for row in found:
        sees = "all" if row["receptive_field"] is None else str(2 * row["receptive_field"] + 1)
        costs = f"{row['parameters']:,}", f"{row['macs_per_megapixel'] / 1e9:,.1f}", sees
        offers = " ".join(map(str, row["scales"])), " ".join(row["precisions"]), row["purpose"]
        shown.append((row["name"], *costs, *offers))
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for line in shown:
        cells = [f"{c:>{w}}" if 1 <= i <= 3 else f"{c:{w}}" for i, (c, w) in enumerate(zip(line, widths, strict=True))]
        typer.echo("  ".join(cells).rstrip())
    typer.echo(f"\nx{scale}, default options. GMAC/MP: 10^9 multiply-accumulates per megapixel of output.")
    typer.echo("receptive field: side of the square of LR pixels that an SR pixel depends on.")
    typer.echo(
        "\nNetworks of other projects, by the names of traiNNer-redux and BasicSR (pip install 'paragonsr[spandrel]'):"
    )
    for network, names in presets_by_network().items():
        typer.echo(f"  {network:10}  {', '.join(names)}")
    typer.echo("Any other network in spandrel: `type: spandrel`, `network: KBNet_s`, see docs/train.md.")
