"""paragonsr train CONFIG, or a folder of photographs"""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paragonsr.cli.choices import ForOption, ScaleOption, SizeOption
from paragonsr.errors import UserError

if TYPE_CHECKING:
    from paragonsr.config import Config
    from paragonsr.training.run import TrainResult


def train(
    config: Annotated[
        Path | None, typer.Argument(help="YAML configuration, or a folder of photographs.", show_default=False)
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, for example train.total_iter=2000", show_default=False)
    ] = None,
    opt: Annotated[Path | None, typer.Option("-opt", "--opt", help="YAML configuration, as in other trainers.")] = None,
    auto_resume: Annotated[
        bool, typer.Option("--auto_resume", "--auto-resume", help="Accepted and ignored: a run always resumes.")
    ] = False,
    launcher: Annotated[str, typer.Option(help="Accepted and ignored: use torchrun for several processes.")] = "none",
    local_rank: Annotated[
        int | None, typer.Option("--local_rank", "--local-rank", help="Accepted and ignored: torchrun sets it.")
    ] = None,
    force_yml: Annotated[
        list[str] | None, typer.Option("--force_yml", "--force-yml", help="a:b=value, BasicSR's form of a.b=value.")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Archive an earlier run of the same name and start over.")] = False,
    scale: ScaleOption = None,
    size: SizeOption = None,
    time: ForOption = None,
) -> None:
    """Train a network, or resume an interrupted run.

    With a folder of photographs no configuration is needed: one is written
    to experiments/, and a tenth of the photographs is held out to validate on.

    Examples:

        paragonsr train photos --scale 4 --for 30min

        paragonsr train my.yml train.total_iter=20000
    """
    from paragonsr.config import load_config

    del auto_resume, launcher, local_rank  # flags of other trainers that are not needed here
    values = [*(overrides or []), *(force_yml or [])]
    if opt is not None and config is not None:
        values.insert(0, str(config))
    if force_yml:  # it takes several values, of which only the first is the flag's own here
        values = [_as_override(text) for text in values]
    path = opt or config
    if path is None:
        raise UserError("no configuration is given", fix="paragonsr train PHOTOS --scale 4, or paragonsr train CONFIG")
    choice = {"scale": scale, "size": size, "time": time}
    chosen = {key: value for key, value in choice.items() if value is not None}
    arguments = [str(path), *values]
    if path.is_dir():
        path = _written_for(path, chosen)
        arguments += [part for key, value in chosen.items() for part in (FLAGS[key], str(value))]
    elif chosen:
        raise UserError(
            f"{', '.join(FLAGS[key] for key in chosen)} goes with a folder of photographs, not with a configuration",
            where="command line",
            fix="Write it as an override: scale=4, network_g.type=paragonsr2_tiny, train.budget=30min.",
        )
    loaded = load_config(path, values)
    command = _command(arguments)
    if run(loaded.config, loaded.warnings, fresh=fresh, command=command).failed:
        raise typer.Exit(1)


FLAGS = {"scale": "--scale", "size": "--size", "time": "--for"}


def _written_for(photos: Path, chosen: dict[str, Any]) -> Path:
    """Write the configuration for a folder of photographs; the same folder and choices give the same file."""
    from paragonsr.recipes.photos import Recipe

    recipe = Recipe(photos, **chosen)
    file = Path("experiments") / f"{recipe.name}.yml"
    recipe.write(file, ["paragonsr", *sys.argv[1:]])
    return file


def _as_override(text: str) -> str:
    """Convert `train:total_iter=5` of --force_yml to the override `train.total_iter=5`."""
    name, equals, value = text.partition("=")
    return name.replace(":", ".") + equals + value


def _command(arguments: list[str]) -> str:
    """Command that resumes this run, including overrides."""
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    if processes == "1":
        return shlex.join(["paragonsr", "train", *arguments])
    return shlex.join(["torchrun", f"--nproc-per-node={processes}", "train.py", *arguments])


def run(config: "Config", warnings: tuple[str, ...], *, fresh: bool, command: str) -> "TrainResult":
    """Train a checked configuration; `command` is the command that resumes it."""
    if os.environ.get("RANK", "0") == "0":  # printed first, because the next steps take seconds
        budget = config.train.budget
        timed = budget is not None and budget.unit == "seconds"
        typer.echo(f"{config.name}: opening the images{' and measuring the time of a step' if timed else ''} ...")
    from paragonsr.training.run import train as run

    try:
        return run(config, fresh=fresh, notes=(*warnings, *idle(config)), command=command)
    except KeyboardInterrupt:  # before training has started, or the second one, which does not wait for the step
        typer.echo("interrupted; saved states are kept, run the same command to continue", err=True)
        raise typer.Exit(130) from None


def idle(config: "Config") -> list[str]:
    """Notes on automations that are enabled but cannot act, and on keys that have no effect."""
    sections = config.train.training_automations
    without_effect = config.network.without_effect(config.scale)
    notes = [f"network_g.{key} has no effect at scale {config.scale}" for key in without_effect]
    if not config.validates:
        notes.append("Nothing is validated: no best weights are kept, only those of each checkpoint and the last ones.")
        if sections.early_stopping.enabled:
            notes.append("early_stopping is enabled, but nothing is validated: it has no effect")
    batch = sections.dynamic_batch_size_optimizer
    if batch.enabled and batch.max_batch_size and batch.max_batch_size < config.batch:
        notes.append(
            f"max_batch_size is {batch.max_batch_size}, but the batch is never reduced: {config.batch} is used"
        )
    if config.train.dynamic_loss_scheduling.enabled and len(config.train.losses) < 2:
        notes.append("dynamic_loss_scheduling is enabled, but there is only one loss: nothing to balance")
    return notes
