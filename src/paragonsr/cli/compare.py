"""paragonsr compare A.yml B.yml"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from paragonsr.evidence.options import Kind


def compare(
    configs: Annotated[list[Path], typer.Argument(help="YAML configurations; the first is the baseline.")],
    seeds: Annotated[int, typer.Option(min=1, help="Number of runs per arm.")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first run; the others count up from it.")] = 0,
    budget: Annotated[str | None, typer.Option(help="Budget per run: 600s, 10min, 20000it or 1M samples.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value for all arms.")] = None,
    vary: Annotated[list[str] | None, typer.Option(help="key=v1,v2,...: one arm per value.")] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="'name: key=value; ...': an arm with changes to the first configuration."),
    ] = None,
    fair: Annotated[bool, typer.Option("--fair", help="Disable all automations.")] = False,
    allow: Annotated[list[Kind] | None, typer.Option(help="Keys in which the arms may differ.")] = None,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("comparison"),
) -> None:
    """Compare configurations by training them with the same seeds, sample order and validations; resumable.

    Examples:

        paragonsr compare my.yml --vary train.optim_g.type=AdamW,SOAP --budget 10min

        paragonsr compare a.yml b.yml --seeds 5 --out a_and_b
    """
    from paragonsr.evidence.arms import check_comparable, make_arms, said_once
    from paragonsr.evidence.comparison import compare as run
    from paragonsr.evidence.tables import lines

    changes = {"overrides": overrides or [], "vary": vary or [], "more": arm or []}
    arms = make_arms(configs, **changes, budget=budget, fair=fair)
    check_comparable(arms, allow or [])
    for note in said_once({arm.name: arm.notes for arm in arms}):
        typer.echo(note)
    try:
        called = shlex.join(["paragonsr", *sys.argv[1:]])
        found = run(arms, range(first_seed, first_seed + seeds), out, typer.echo, called)
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same command to continue", err=True)
        raise typer.Exit(130) from None
    for line in lines(found):
        typer.echo(line)
    typer.echo(f"values in {out / 'compare.json'}, page in {out / 'compare.html'}")
