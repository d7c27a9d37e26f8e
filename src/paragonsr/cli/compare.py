"""paragonsr compare A.yml B.yml"""

import json
from pathlib import Path
from typing import Annotated

import typer


def compare(
    configs: Annotated[list[Path], typer.Argument(help="YAML configurations; the first is what others are held to.")],
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each arm.")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first run; the others count on from it.")] = 0,
    budget: Annotated[str | None, typer.Option(help="600s, 10min, 20000it or 1M samples for each run.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value for all arms.")] = None,
    vary: Annotated[list[str] | None, typer.Option(help="key=v1,v2,...: one arm for each value.")] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="'name: key=value; ...': the first configuration with changes."),
    ] = None,
    fair: Annotated[bool, typer.Option("--fair", help="All automations off.")] = False,
    allow: Annotated[list[str] | None, typer.Option(help="data or validation may differ.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the comparison.")] = Path("comparison"),
) -> None:
    """Train configurations against each other: same seeds, same sample order, same validations; resumable."""
    from paragonsr.evidence.arms import check_comparable, differing_keys, make_arms
    from paragonsr.evidence.compare_page import compare_page
    from paragonsr.evidence.course import carry_out, legs, planned
    from paragonsr.evidence.results import as_dict, lines, results
    from paragonsr.files import write_atomically

    changes = {"overrides": overrides or [], "vary": vary or [], "more": arm or []}
    arms = make_arms(configs, **changes, budget=budget, fair=fair)
    check_comparable(arms, allow or [])
    for note in dict.fromkeys(note for arm in arms for note in arm.notes):
        typer.echo(note)
    differing = differing_keys(arms)
    arms = planned(arms, out, typer.echo)
    todo = list(legs(arms, range(first_seed, first_seed + seeds), out))
    for number, leg in enumerate(todo, 1):
        if not leg.done:
            typer.echo(f"run {number} of {len(todo)}: {leg.arm.name}, seed {leg.seed}")
            carry_out(leg, arms[0])
    found = results(arms, todo, differing)
    write_atomically(out / "compare.json", (json.dumps(as_dict(found), indent=2) + "\n").encode())
    write_atomically(out / "compare.html", compare_page(found, arms, todo).encode())
    for line in lines(found):
        typer.echo(line)
    typer.echo(f"figures in {out / 'compare.json'}, page in {out / 'compare.html'}")
