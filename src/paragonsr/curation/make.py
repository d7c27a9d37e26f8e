"""All steps of a curation in order, from one file; what is done already is not done again."""

from collections.abc import Callable
from pathlib import Path

from paragonsr.curation.cluster import Crew
from paragonsr.curation.downscale import downscale
from paragonsr.curation.duplicates import find_duplicates
from paragonsr.curation.expression import Population, parse
from paragonsr.curation.materialise import materialise
from paragonsr.curation.options import CurationOptions, Destination
from paragonsr.curation.report_page import report_page, write_page
from paragonsr.curation.scores.registry import SCORES
from paragonsr.curation.scoring import require_scorers, score
from paragonsr.curation.selection import HELD_OUT, TRAIN, ordering, select
from paragonsr.curation.splitting import hold_out
from paragonsr.curation.table import FACTS, Table
from paragonsr.curation.tiling import tile
from paragonsr.data.decoding import Progress
from paragonsr.data.manifest import SUFFIX
from paragonsr.errors import UserError

Begin = Callable[[str], Progress]
"""Given the name of a step, what is told of its progress."""

Say = Callable[[str], None]


def make(options: CurationOptions, begin: Begin, say: Say) -> None:
    """Tile, score, split, select, materialise, downscale, report.

    Interrupted anywhere, it is finished by calling it again.

    Args:
        options: the curation file.
        begin: called at the beginning of each step.
        say: is told what came out of each step.

    Raises:
        UserError: whatever is wrong with the input; the steps before it stay done.
    """
    tiles = Path(options.tiles)
    scores = default_scores(tiles) if options.scores is None else Path(options.scores)
    report = beside(tiles, ".html") if options.report is None else Path(options.report)
    _check_selections(options, scores)
    with Crew(options.workers) as crew:
        if options.scheduler is None:
            require_scorers(options.score, crew)
        for line in tile(Path(options.photographs), tiles, options.tile, crew, begin("tile")).lines():
            say(line)
        with Table(scores, create=True) as table:
            if options.scheduler is None:
                scored = score(tiles, table, options.score, crew, begin("score"))
            else:
                with Crew(scheduler=options.scheduler) as cluster:
                    scored = score(tiles, table, options.score, cluster, begin("score"))
            say(str(scored))
            manifests = []
            if options.val is None:
                find_duplicates(table, begin("near-duplicates"))
                manifests.append(_select(table, tiles, options.train, None, begin, say))
            else:
                held = hold_out(table, options.val.photographs, options.val.seed, begin("near-duplicates"))
                say(f"{held} photographs are held out for validation")
                manifests.append(_select(table, tiles, options.train, TRAIN, begin, say))
                manifests.append(_select(table, tiles, options.val, HELD_OUT, begin, say))
            for chosen in filter(None, (options.train, options.val)):
                for scale, folder in chosen.lr.items():
                    step = begin(f"downscale x{scale} {Path(folder).name}")
                    made, removed = downscale(Path(chosen.hr), Path(folder), scale, crew, step)
                    say(f"{folder}: {made} LR images made, {removed} removed")
            write_page(report, report_page(table, tiles, options.train.where, manifests))
            say(f"report in {report}")


def _check_selections(options: CurationOptions, scores: Path) -> None:
    """See that the selections can be understood before hours are spent on tiles and scores."""
    known = dict.fromkeys([*FACTS, *SCORES, *options.score.also])
    if scores.is_file():
        with Table(scores) as table:
            known.update(dict.fromkeys(table.columns()))
    nobody = Population(lambda column: 0, lambda column, position: None)
    for key, chosen in (("train", options.train), ("val", options.val)):
        if chosen is not None:
            try:
                parse(chosen.where, list(known), nobody)
                ordering(chosen.order, [name for name in known if name not in FACTS])
            except UserError as error:
                raise UserError(error.what, where=f"{key}: {error.where}", fix=error.fix) from error


def default_scores(folder: Path) -> Path:
    """The table of a folder of tiles where none is named: beside it."""
    return beside(folder, ".sqlite")


def beside(folder: Path, suffix: str) -> Path:
    """A file beside a folder, called as the folder is."""
    return folder.with_name(folder.name + suffix)


def _select(table: Table, tiles: Path, chosen: Destination, side: str | None, begin: Begin, say: Say) -> Path:
    manifest = beside(Path(chosen.hr), SUFFIX)
    name = Path(chosen.hr).name
    header = select(table, tiles, chosen, manifest, side, begin(f"select {name}"))
    added, removed = materialise(manifest, Path(chosen.hr), begin(f"materialise {name}"))
    say(f"{chosen.hr}: {header['images']} tiles ({added} added, {removed} removed), manifest {manifest}")
    return manifest
