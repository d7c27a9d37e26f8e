"""paragonsr data: tile, score, select, downscale, degrade, report, make"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paragonsr.cli.degrade import CONFIG

if TYPE_CHECKING:
    from paragonsr.curation.make import Begin
    from paragonsr.curation.options import CurationOptions, TileOptions
    from paragonsr.data.decoding import Progress as Told

data = typer.Typer(
    name="data",
    help="Make a training set from photographs: tile, score, select, downscale, degrade, report.",
    no_args_is_help=True,
)

Workers = Annotated[int | None, typer.Option(min=1, help="Number of processes; default: one per CPU core.")]


@data.command()
def tile(
    source: Annotated[Path, typer.Argument(help="Folder of photographs.")],
    target: Annotated[Path, typer.Argument(help="Folder for the tiles.")],
    side: Annotated[int, typer.Option(help="Height and width of a tile.")] = 512,
    scales: Annotated[str, typer.Option(help="Scales at which each photograph is tiled: 1,0.75,0.5")] = "1",
    workers: Workers = None,
) -> None:
    """Cut photographs into non-overlapping PNG tiles, at several scales.

    Examples:

        paragonsr data tile photos tiles

        paragonsr data tile photos tiles --side 384 --scales 1,0.5
    """
    from paragonsr.curation.cluster import Crew
    from paragonsr.curation.tiling import tile as cut

    options = _tile_options(side, scales)
    with Crew(workers) as crew, _progress() as begin:
        record = cut(source, target, options, crew, begin("tile"))
    for line in record.lines():
        typer.echo(line)


@data.command()
def score(
    folder: Annotated[Path, typer.Argument(help="Folder of tiles, or of any images.")],
    out: Annotated[Path | None, typer.Option(help="SQLite file; default: next to the folder.")] = None,
    also: Annotated[list[str] | None, typer.Option(help="Additional score: arniqa, or ic9600=WEIGHTS.")] = None,
    workers: Workers = None,
    scheduler: Annotated[str | None, typer.Option(help="Score on a Dask cluster: tcp://HOST:8786")] = None,
) -> None:
    """Compute all scores of all tiles into one SQLite table; if interrupted, run it again to continue.

    Examples:

        paragonsr data score tiles

        paragonsr data score tiles --workers 4
    """
    from paragonsr.curation.cluster import Crew
    from paragonsr.curation.make import default_scores
    from paragonsr.curation.options import ScoreOptions
    from paragonsr.curation.scoring import require_scorers
    from paragonsr.curation.scoring import score as measure
    from paragonsr.curation.table import Table
    from paragonsr.curation.walk import require_images

    require_images(folder)
    named = {name: weights or None for name, _, weights in (entry.partition("=") for entry in also or [])}
    target = out or default_scores(folder)
    options = ScoreOptions(also=named)
    with Crew(workers, scheduler) as crew, _progress() as begin:
        require_scorers(options, crew)
        with Table(target, create=True) as table:
            scored = measure(folder, table, options, crew, begin("score"))
    typer.echo(f"{scored}; table {target}")


@data.command()
def select(
    where: Annotated[str, typer.Argument(help='"complexity >= 0.5 and blockiness < 30"; pct(complexity) >= 0.1')],
    folder: Annotated[Path, typer.Argument(help="Folder of the tiles.")],
    out: Annotated[Path, typer.Option(help="Manifest to write.")] = Path("selection.jsonl"),
    scores: Annotated[Path | None, typer.Option(help="SQLite file; default: next to the folder.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of tiles.")] = None,
    order: Annotated[str, typer.Option(help="Order: path, random:SEED, SCORE, -SCORE.")] = "path",
    hold_out: Annotated[int, typer.Option(min=0, help="Number of photographs to hold out for validation.")] = 0,
    val_out: Annotated[Path | None, typer.Option(help="Manifest of the held-out tiles.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed that selects the held-out photographs.")] = 0,
    materialise: Annotated[Path | None, typer.Option(help="Also create this folder of hard links or copies.")] = None,
) -> None:
    """Select tiles. Train on the manifest directly: datasets.train.dataroot_gt=selection.jsonl

    Examples:

        paragonsr data select "complexity >= 0.5 and blockiness < 30" tiles

        paragonsr data select "pct(complexity) >= 0.1" tiles --limit 5000
    """
    from paragonsr.curation.make import default_scores
    from paragonsr.curation.materialise import materialise as make_folder
    from paragonsr.curation.options import SelectOptions
    from paragonsr.curation.selection import HELD_OUT, TRAIN
    from paragonsr.curation.selection import select as choose
    from paragonsr.curation.splitting import hold_out as split
    from paragonsr.curation.table import Table
    from paragonsr.errors import UserError

    if val_out is not None and not hold_out:
        raise UserError(
            "the number of held-out photographs is missing",
            where="--val-out",
            fix="Give the number of photographs: --hold-out 100.",
        )
    options = SelectOptions(where=where, limit=limit, order=order)
    with Table(scores or default_scores(folder)) as table, _progress() as begin:
        table.require_folder(folder)
        if hold_out:
            typer.echo(f"{split(table, hold_out, seed, begin('near-duplicates'))} photographs are held out")
        header = choose(table, folder, options, out, TRAIN if hold_out else None, begin("select"))
        typer.echo(f"{header['images']} of {header['counts']['rows']} tiles in {out}")
        for step in header["counts"]["steps"]:
            typer.echo(f"  {step['text']}: {step['left']} left")
        if val_out is not None:
            held = choose(table, folder, SelectOptions(where=where), val_out, HELD_OUT, begin("select held out"))
            typer.echo(f"{held['images']} tiles of held-out photographs in {val_out}")
    if materialise is not None:
        with _progress() as begin:
            added, removed = make_folder(out, materialise, begin("materialise"))
        typer.echo(f"{materialise}: {added} tiles added, {removed} removed")


@data.command()
def downscale(
    source: Annotated[Path, typer.Argument(help="Folder of HR images, or a manifest.")],
    target: Annotated[Path, typer.Argument(help="Folder for the LR images.")],
    scale: Annotated[int, typer.Option(min=2, help="Downscaling factor.")] = 2,
    workers: Workers = None,
) -> None:
    """Make LR images with the MATLAB-exact bicubic resize.

    Examples:

        paragonsr data downscale hr lr

        paragonsr data downscale selection.jsonl lr --scale 4
    """
    from paragonsr.curation.cluster import Crew
    from paragonsr.curation.downscale import downscale as lower

    with Crew(workers) as crew, _progress() as begin:
        made, removed = lower(source, target, scale, crew, begin(f"downscale x{scale}"))
    typer.echo(f"{target}: {made} LR images made, {removed} removed")


@data.command()
def degrade(
    source: Annotated[Path, typer.Argument(help="Folder of HR images, or a manifest.")],
    target: Annotated[Path, typer.Argument(help="Folder for the LR images.")],
    config: Annotated[Path, typer.Option(help=CONFIG)],
    scale: Annotated[
        int | None, typer.Option(min=1, help="Downscaling factor; default: that of the file.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Random seed; default: that of the file, or 0.", show_default=False)
    ] = None,
    workers: Workers = None,
) -> None:
    """Make LR images with a degradation, and parameters.csv with what was drawn for each; run it again to continue.

    Examples:

        paragonsr data degrade photos/hr photos/lr --config options/train/my.yml

        paragonsr data degrade selection.jsonl lr --config degradation.yml --scale 2 --seed 1
    """
    from paragonsr.config.degradation_file import load_degradation
    from paragonsr.curation.cluster import Crew
    from paragonsr.curation.degrade import TABLE, Recipe
    from paragonsr.curation.degrade import degrade as make_lr

    file = load_degradation(config)
    given = file.seed if seed is None else seed
    recipe = Recipe.of(file.degradation, scale or file.scale, given, file.plugins)
    with Crew(workers) as crew, _progress() as begin:
        made, total = make_lr(source, target, recipe, crew, begin(f"degrade x{recipe.scale}"))
    typer.echo(f"{target}: {made} of {total} LR images made, their parameters in {target / TABLE}")


@data.command()
def calibrate(
    folder: Annotated[Path, typer.Argument(help="Folder of bad images.")],
    hr: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of clean HR images; default: the images themselves, downscaled.", show_default=False),
    ] = None,
    scale: Annotated[int, typer.Option(min=1, max=8, help="HR side / LR side.")] = 2,
    out: Annotated[Path | None, typer.Option(help="YAML to write; default: FOLDER.yml.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the simulations.")] = 0,
) -> None:
    """Fit a degradation to bad images: print measured against fitted, and write YAML and an HTML page.

    Examples:

        paragonsr data calibrate bad --hr photos/hr

        paragonsr data calibrate bad --hr photos/hr --scale 4 --out bad.yml
    """
    from paragonsr.calibration.calibrate import calibrate as fit
    from paragonsr.calibration.images import read_folder, read_hr, shrunk_folder
    from paragonsr.calibration.report import as_yaml, lines, page
    from paragonsr.curation.make import beside
    from paragonsr.files import write_atomically

    roots = hr or []
    with _progress() as begin:
        found = fit(folder, roots, scale, seed, begin("simulate"))
    for line in lines(found):
        typer.echo(line)
    target = out or beside(folder, ".yml")
    write_atomically(target, as_yaml(found).encode())
    crops = list(read_folder(folder).crops)
    html = page(found, crops, read_hr(roots, scale) if roots else shrunk_folder(folder, scale))
    write_atomically(target.with_suffix(".html"), html.encode())
    typer.echo(f"degradation in {target}, page in {target.with_suffix('.html')}")


@data.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of the tiles.")],
    where: Annotated[str, typer.Option(help="Expression whose thresholds are shown.")] = "complexity >= 0.5",
    scores: Annotated[Path | None, typer.Option(help="SQLite file; default: next to the folder.")] = None,
    manifest: Annotated[list[Path] | None, typer.Option(help="Selection whose statistics are shown.")] = None,
    out: Annotated[Path | None, typer.Option(help="HTML file; default: next to the folder.")] = None,
) -> None:
    """Write a self-contained HTML page: histograms, correlations, kept and dropped tiles.

    Examples:

        paragonsr data report tiles

        paragonsr data report tiles --manifest selection.jsonl --out tiles.html
    """
    from paragonsr.curation.duplicates import find_duplicates
    from paragonsr.curation.make import beside, default_scores
    from paragonsr.curation.report_page import report_page, write_page
    from paragonsr.curation.table import Table

    target = out or beside(folder, ".html")
    with Table(scores or default_scores(folder)) as table:
        table.require_folder(folder)
        with _progress() as begin:
            find_duplicates(table, begin("near-duplicates"))
        write_page(target, report_page(table, folder, where, manifest or []))
    typer.echo(f"report in {target}")


@data.command()
def make(
    config: Annotated[Path, typer.Argument(help="YAML file: options/data/cc0_complexity05.yml")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, for example photographs=/my/photos", show_default=False)
    ] = None,
) -> None:
    """Run all steps in order, from one YAML file; if interrupted, run it again to continue.

    Examples:

        paragonsr data make options/data/cc0_complexity05.yml photographs=photos

        paragonsr data make my_data.yml tile.side=384
    """
    from paragonsr.curation.make import make as make_all

    options = _read(config, overrides or [])
    with _progress() as begin:
        make_all(options, begin, typer.echo)


def _read(path: Path, overrides: list[str]) -> "CurationOptions":
    from pydantic import ValidationError

    from paragonsr.config.load import override
    from paragonsr.config.problems import describe
    from paragonsr.config.yaml import read_yaml
    from paragonsr.curation.options import CurationOptions
    from paragonsr.errors import UserError

    tree, lines = read_yaml(path)
    for text in overrides:
        override(tree, text, lines)
    try:
        return CurationOptions.model_validate(tree)
    except ValidationError as error:
        raise UserError(describe(error, CurationOptions, str(path), lines)) from None


def _tile_options(side: int, scales: str) -> "TileOptions":
    from pydantic import ValidationError

    from paragonsr.config.problems import describe
    from paragonsr.curation.options import TileOptions
    from paragonsr.errors import UserError

    try:
        given = [float(scale) for scale in scales.split(",")]
        return TileOptions(side=side, scales=given)
    except ValidationError as error:
        raise UserError(describe(error, TileOptions, "command line", {})) from None
    except ValueError:
        raise UserError(f"{scales!r} is not a list of numbers", where="--scales", fix="Write 1,0.75,0.5.") from None


@contextmanager
def _progress() -> "Iterator[Begin]":
    """Show a progress bar per step on a terminal. After Ctrl-C, say how to continue."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def begin(title: str) -> "Told":
            task = bars.add_task(title, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        try:
            yield begin
        except KeyboardInterrupt:
            typer.echo("interrupted; run the same command to continue", err=True)
            raise typer.Exit(130) from None
