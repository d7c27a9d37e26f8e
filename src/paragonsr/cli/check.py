"""paragonsr check CONFIG"""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from paragonsr.config import Config


def check(
    config: Annotated[Path, typer.Argument(help="YAML configuration.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value", show_default=False)] = None,
    measure: Annotated[bool, typer.Option(help="Measure time and memory of a few steps.")] = True,
) -> None:
    """Check before training whether a configuration works, and how much time and memory it needs.

    Examples:

        paragonsr check my.yml

        paragonsr check my.yml train.total_iter=20000 --no-measure
    """
    from paragonsr.automation.degradation_calibration import DegradationCalibration
    from paragonsr.cli.train import idle
    from paragonsr.config import load_config
    from paragonsr.data.decoding import unheard
    from paragonsr.training.calibrated import calibrated
    from paragonsr.training.readiness import start_problems

    loaded = load_config(config, overrides or [])
    for note in (*loaded.warnings, *idle(loaded.config)):
        typer.echo(f"note: {note}")
    fitted, found = calibrated(loaded.config, unheard)
    for measured in found:
        typer.echo(f"{measured.kind}: " + "; ".join(d.reason for d in DegradationCalibration().observe(measured)))
    problems = [*_data(fitted), *start_problems(fitted)]
    _learning_rate(fitted)
    _automations(fitted)
    if problems:
        typer.echo("error: " + "\n  ".join(problems), err=True)
        raise typer.Exit(2)
    _degradation(fitted)
    if measure:
        _estimate(fitted)
    typer.echo("ready to train")


def _data(config: "Config") -> list[str]:
    """Print what the sets hold, and return their problems."""
    from paragonsr.data.inspect import check_dataset
    from paragonsr.training.readiness import shared_images, shared_note, validation_problems

    problems = []
    reports = {
        phase: check_dataset(config.datasets[phase], config.scale, phase) for phase in ("train", *config.val_sets)
    }
    for phase, report in reports.items():
        typer.echo(str(report))
        problems += [str(problem) for problem in report.problems]
        if phase != "train":
            problems += validation_problems(config, phase, report.names, report.shapes)
            shared = shared_images(reports["train"].digests, report.digests, report.names)
            if shared:
                typer.echo(f"note: {shared_note(phase, shared, report.images)}")
        if report.oriented:
            typer.echo(f"note: {len(report.oriented)} HR images have an EXIF orientation, which is applied")
    return problems


def _degradation(config: "Config") -> None:
    """Write a contact sheet of what the degradation makes of a training image."""
    from paragonsr.data.contact_sheet import sheet_of_set
    from paragonsr.data.images import write_png

    sheet = sheet_of_set(config.datasets["train"], config.scale, "train", config.manual_seed)
    if sheet is not None:
        file = Path(config.path.experiments_root) / f"{config.name}_degradation.png"
        write_png(file, sheet)
        typer.echo(f"contact sheet of the degradation in {file}")


def _learning_rate(config: "Config") -> None:
    from paragonsr.training.assembly import learning_rate

    total = config.train.total_iter
    points = sorted({1, *(max(1, total * part // 10) for part in range(11))})
    rate, base = learning_rate(config), config.train.optim_g.first_lr
    curve = "  ".join(f"{point}: {rate(point - 1, base):.2e}" for point in points)
    typer.echo(f"learning rate by iteration  {curve}")


def _automations(config: "Config") -> None:
    from paragonsr.training.explain import acting

    typer.echo("automations (for details: paragonsr explain)")
    for line in acting(config):
        typer.echo(f"  {line}")


def _estimate(config: "Config") -> None:
    from paragonsr.training.engine.estimate import estimate

    values = estimate(config)
    total = config.train.total_iter
    budget = config.train.budget
    if budget is not None and budget.unit == "seconds":
        total = max(1, int(budget.amount / values.seconds))
    whole = timedelta(seconds=round(values.seconds * total))
    typer.echo(
        f"network: {values.parameters} parameters on {values.device}; a step of {config.batch} samples takes "
        f"{values.seconds:.3f} s and {values.memory / 2**30:.2f} GiB at the peak; "
        f"{total} iterations take about {whole}, without validation and saving"
    )
