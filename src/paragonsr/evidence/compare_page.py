"""The page of a comparison: what differs, what came out, curves with intervals."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from paragonsr.evidence.arms import Arm
from paragonsr.evidence.course import Leg
from paragonsr.evidence.page import Page
from paragonsr.evidence.plots import Shaded, shaded_curves
from paragonsr.evidence.results import Results, cost_table, outcome_table
from paragonsr.evidence.runs import Run
from paragonsr.evidence.statistics import CONFIDENCE, FEWEST


def compare_page(found: Results, arms: Sequence[Arm], legs: Sequence[Leg]) -> str:
    """The HTML."""
    seeds = f"{found.seeds} seed{'s' * (found.seeds > 1)}"
    page = Page("Comparison", f"{' against '.join(found.arms)}; {seeds} each, the same for all arms")
    page.heading("What differs")
    page.table(("key", *found.arms), [(key, *values) for key, values in found.differing.items()])
    page.heading("What came out")
    header, *rows = outcome_table(found)
    page.table(header, rows)
    if found.seeds < FEWEST:
        page.text(f"With {seeds} no interval can be given: repeat with --seeds {FEWEST} or more.")
    header, *rows = cost_table(found)
    page.table(header, rows)
    page.heading("Curves")
    page.text(
        "Mean over the seeds; the shade is the 95% t-interval of the mean." if found.seeds >= FEWEST else "Means."
    )
    runs = {arm.name: [leg.run for leg in legs if leg.arm.name == arm.name] for arm in arms}
    last = next(iter(runs.values()))[0].validations[-1]
    for set_name, metrics in last.figures.items():
        figures = []
        for metric in metrics:
            by_iteration = {name: _mean_curve(of_arm, metric, set_name) for name, of_arm in runs.items()}
            by_second = {name: _in_seconds(curve, runs[name]) for name, curve in by_iteration.items()}
            figures.append(shaded_curves(f"{set_name}: {metric}", "iteration", metric, by_iteration))
            figures.append(shaded_curves(f"{set_name}: {metric}", "seconds of training", metric, by_second))
        page.plots(figures)
    page.heading("Measured by")
    page.table(("metric", "protocol"), list(found.protocols.items()))
    return page.html()


def _mean_curve(runs: Sequence[Run], metric: str, set_name: str) -> Shaded:
    iterations = runs[0].curve(metric, set_name)[0]
    values = np.stack([run.curve(metric, set_name)[1] for run in runs])
    mean = values.mean(axis=0)
    if len(runs) < FEWEST:
        return Shaded(iterations, mean)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(runs) - 1) * values.std(axis=0, ddof=1) / np.sqrt(len(runs))
    return Shaded(iterations, mean, mean - half, mean + half)


def _in_seconds(curve: Shaded, runs: Sequence[Run]) -> Shaded:
    seconds = np.mean([run.seconds_at(curve.x) for run in runs], axis=0)
    return Shaded(seconds, curve.y, curve.low, curve.high)
