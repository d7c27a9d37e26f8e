"""HTML page of a comparison: differences, results, and curves with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from paragonsr.errors import UserError
from paragonsr.evidence.arms import Arm
from paragonsr.evidence.crops import crops_of_arms
from paragonsr.evidence.curves import difference_curve, in_seconds, mean_curve
from paragonsr.evidence.plots import Paired, intervals, shaded_curves
from paragonsr.evidence.results import Results, measured, runs_of
from paragonsr.evidence.runner import PlannedRun
from paragonsr.evidence.runs import Run
from paragonsr.evidence.tables import changes_of, cost_table, outcome_tables, title
from paragonsr.evidence.verdict import comparison_verdicts, digits_of, few_seeds, seeds_in_words
from paragonsr.html.charts import lines
from paragonsr.html.page import Page

READING = (
    "Differences are paired by seed; bars and shaded areas are 95% t-intervals, small dots single seeds. Detectable is "
    "the smallest true difference that this number of seeds finds in four of five comparisons; to first is when an arm "
    "reaches the final value of the first arm. Curves are means over the seeds; a run that stopped early keeps its "
    "last value. Click a name to hide its curves."
)


def compare_page(found: Results, arms: Sequence[Arm], planned_runs: Sequence[PlannedRun]) -> str:
    """Return the HTML."""
    so_far = seeds_in_words(found.seeds) + (f" of {found.of} so far" if found.seeds < found.of else "")
    page = Page("Comparison", f"{len(found.arms)} arms, {so_far} each, the same for all arms")
    for sentence in comparison_verdicts(found):
        page.text(sentence)
    page.table(("", "the same for all arms"), list(found.setting.items()))
    _crops(page, arms, runs_of(arms, planned_runs))
    page.heading("What differs")
    page.table(
        ("arm", "keys of the first arm, and differences of the others"),
        [(arm, "\n".join(changes)) for arm, changes in zip(found.arms, changes_of(found), strict=True)],
    )
    page.heading("Results")
    for sentence in few_seeds(found):
        page.text(f"{sentence[0].upper()}{sentence[1:]}.")
    page.text(READING)
    runs, tables = runs_of(arms, planned_runs), outcome_tables(found)
    page.legend(dict(zip(found.arms, lines(len(found.arms)), strict=True)))
    for set_name, metric in measured(runs):
        page.subheading(title(found, set_name, metric))
        header, *rows = tables[set_name, metric]
        page.table(header, rows)
        page.charts(_plots(found, runs, set_name, metric))
    page.heading("Cost")
    header, *rows = cost_table(found)
    page.table(header, rows)
    page.heading("Protocols")
    page.table(("metric", "protocol"), list(found.protocols.items()))
    return page.html()


def _crops(page: Page, arms: Sequence[Arm], runs: Mapping[str, Sequence[Run]]) -> None:
    """The same tiles of every arm, by the best weights of its first seed."""
    weights = {name: of_arm[0].folder / "models" / "best.safetensors" for name, of_arm in runs.items()}
    if not all(file.is_file() for file in weights.values()):
        return
    try:
        picture = crops_of_arms(arms[0].config, weights)
    except UserError as error:
        page.text(f"The validation images cannot be read: {error.what}.")
        return
    if picture is not None:
        page.heading("Pictures", "Tiles in which the arms differ most; first seed, best weights.")
        page.picture(picture, "The same tiles of every arm, with their PSNR over R, G and B.")


def _plots(found: Results, runs: Mapping[str, Sequence[Run]], set_name: str, metric: str) -> list[Any]:
    first, *others = runs
    digits = digits_of(found.protocols[metric])
    means = {name: mean_curve(of_arm, metric, set_name) for name, of_arm in runs.items()}
    in_time = {name: in_seconds(curve, runs[name]) for name, curve in means.items()}
    differences = {name: difference_curve(runs[name], runs[first], metric, set_name) for name in others}
    return [
        intervals("final difference to the first arm", metric, _paired(found, set_name, metric), digits),
        shaded_curves("difference to the first arm", "iteration", metric, {first: None, **differences}, digits),
        shaded_curves(metric, "iteration", metric, means, digits),
        shaded_curves(metric, "seconds of training", metric, in_time, digits),
    ]


def _paired(found: Results, set_name: str, metric: str) -> dict[str, Paired | None]:
    """Differences of each arm to the first; None for the first arm, and if there is no difference."""
    outcomes = [o for o in found.outcomes if (o.set_name, o.metric) == (set_name, metric)]
    return {
        o.arm: Paired(o.difference, tuple(np.subtract(o.finals, outcomes[0].finals))) if o.difference else None
        for o in outcomes
    }
