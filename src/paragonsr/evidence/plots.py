"""Plots: raw and smoothed curves, means with intervals, decisions as marks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paragonsr.evidence.curves import Shaded
from paragonsr.evidence.statistics import Difference
from paragonsr.html.charts import MARKED, QUIET, blank, figure, lines, models

POINTS = "points"
"""Tag of the data source with the name of each point, and its height again in `height`."""
BOTTOM = "bottom"
"""Name of a second y axis from 0 to 1, invisible, on which marks stand at the bottom whatever the values are."""
FINE = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
"""Mantissas of the ticks on an axis of less than a decade."""
MEDIUM = (1.0, 2.0, 5.0)
"""Mantissas of the ticks on a longer axis."""


@dataclass(frozen=True)
class Paired:
    """Comparison of an arm with the first one."""

    difference: Difference
    seeds: tuple[float, ...]
    """Difference of each seed."""


@dataclass(frozen=True)
class Mark:
    """Event at an iteration."""

    iteration: int
    what: str
    why: str


def _with_legend(plot: figure, curves: int) -> figure:
    for legend in plot.legend:
        legend.visible = curves > 1
        assert isinstance(legend, models.Legend)
        legend.background_fill_alpha, legend.border_line_color = 0.0, None
        legend.label_text_color, legend.label_text_font_size = QUIET, "11px"
        legend.click_policy, legend.spacing, legend.padding = "hide", 8, 2
        plot.add_layout(legend, "below")
        legend.orientation, legend.ncols = "horizontal", min(curves, 3)
    return plot


def shaded_curves(
    title: str,
    x: str,
    y: str,
    curves: Mapping[str, Shaded | None],
    digits: int = 4,
    marks: Sequence[Mark] = (),
    *,
    legend: bool = False,
) -> figure:
    """Mean curves with their intervals and names. None skips a line style, to match another plot."""
    plot = blank(title, x, y)
    points: dict[str, list[Any]] = {"x": [], "y": [], "name": [], "shown": [], "colour": []}
    # Many overlapping intervals would hide the curves.
    alpha = 0.18 if len(curves) <= 3 else 0.08
    for (colour, dash), (name, curve) in zip(lines(len(curves)), curves.items(), strict=True):
        if curve is None:
            plot.add_layout(
                models.Span(location=0, dimension="width", line_color=colour, line_width=1.5, line_dash=dash)
            )
            continue
        interval = ["" for _ in curve.x]
        if curve.low is not None and curve.high is not None:
            plot.varea(curve.x, curve.low, curve.high, fill_color=colour, fill_alpha=alpha, name=name)
            interval = [
                f" [{low:.{digits}f}, {high:.{digits}f}]" for low, high in zip(curve.low, curve.high, strict=True)
            ]
        shown = [f"{value:.{digits}f}{around}" for value, around in zip(curve.y, interval, strict=True)]
        columns: tuple[Iterable[Any], ...] = (curve.x, curve.y, [name] * len(curve.x), shown, [colour] * len(curve.x))
        for column, values in zip(points.values(), columns, strict=True):
            column.extend(values)
        named = {"legend_label": name} if legend else {}
        plot.line(curve.x, curve.y, color=colour, line_width=2, line_dash=dash, name=name, **named)
    # All points in one source, so that the tooltips of nearby points are listed below each other.
    source = models.ColumnDataSource(points | {"height": points["y"]}, tags=[POINTS])
    dots = plot.scatter("x", "y", source=source, color="colour", size=4)
    plot.add_tools(models.HoverTool(renderers=[dots], tooltips=[("", "@name"), (x, "@x{0,0}"), (y, "@shown")]))
    _marked(plot, marks)
    return _with_legend(plot, len(curves))


def intervals(title: str, x: str, found: Mapping[str, Paired | None], digits: int) -> figure:
    """Differences to the first arm, one row per arm: single seeds, mean and interval; None for the first arm."""
    plot = blank(title, x, "")
    plot.xaxis.formatter = models.BasicTickFormatter()
    plot.ygrid.grid_line_color = None
    plot.y_range.update(start=-len(found) + 0.4, end=0.6)
    plot.yaxis.ticker = models.FixedTicker(ticks=[-i for i in range(len(found))])
    plot.yaxis.major_label_overrides = {-i: _shortened(name) for i, name in enumerate(found)}
    plot.yaxis.major_tick_line_color = None
    means = []
    for i, ((colour, dash), (name, paired)) in enumerate(zip(lines(len(found)), found.items(), strict=True)):
        if paired is None:
            plot.add_layout(
                models.Span(location=0, dimension="height", line_color=colour, line_width=1.5, line_dash=dash)
            )
            continue
        plot.scatter(paired.seeds, [-i] * len(paired.seeds), color=colour, size=5, alpha=0.45, name=name)
        d = paired.difference
        shown = f"{d.mean:+.{digits}f}"
        if d.low is not None and d.high is not None:
            plot.segment([d.low], [-i], [d.high], [-i], color=colour, line_width=2.5, name=name)
            shown += f" [{d.low:+.{digits}f}, {d.high:+.{digits}f}]"
        source = models.ColumnDataSource({"x": [d.mean], "y": [-i], "name": [name], "shown": [shown]})
        means.append(plot.scatter("x", "y", source=source, marker="diamond", color=colour, size=13, name=name))
    plot.add_tools(models.HoverTool(renderers=means, tooltips=[("", "@name"), ("difference", "@shown")]))
    return plot


def _shortened(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def step_curves(
    title: str,
    y: str,
    iterations: np.ndarray,
    curves: Mapping[str, np.ndarray],
    marks: Sequence[Mark] = (),
    *,
    noisy: bool = True,
    log: bool = False,
    format: str | None = None,
) -> figure:
    """Per-step values over iterations; noisy ones are drawn pale as measured, and strong as smoothed.

    A step with a grown batch counts for several iterations, so `iterations` gives the last iteration of each step.
    """
    plot = blank(title, "iteration", y, log=log)
    drawn = {name: thinned(values) for name, values in curves.items()}
    _spread_ticks(plot, np.concatenate([*(curve for _, curve in drawn.values()), np.empty(0)]), log=log)
    if format is not None:
        plot.yaxis.formatter = models.PrintfTickFormatter(format=format)
    for (colour, _), (name, (ends, curve)) in zip(lines(len(curves)), drawn.items(), strict=True):
        x = iterations[ends - 1]
        if noisy:
            plot.line(x, curve, color=colour, line_alpha=0.25, legend_label=name)
            curve = smoothed(curve)
        plot.line(x, curve, color=colour, line_width=2, legend_label=name)
    _marked(plot, marks)
    return _with_legend(plot, len(curves))


def _spread_ticks(plot: figure, values: np.ndarray, *, log: bool) -> None:
    """Readable ticks: integers for integer values, 1-2-5 on a logarithmic axis."""
    values = values[np.isfinite(values) & (values > 0)] if log else values[np.isfinite(values)]
    if not values.size:
        return
    if log:
        decades = np.log10(values.max() / values.min())
        mantissas = FINE if decades < 1 else MEDIUM if decades < 3 else (1.0,)
        powers = range(int(np.floor(np.log10(values.min()))), int(np.ceil(np.log10(values.max()))) + 1)
        plot.yaxis.ticker = models.FixedTicker(ticks=[m * 10.0**power for power in powers for m in mantissas])
        plot.yaxis.formatter = models.BasicTickFormatter()
    elif (values == values.round()).all():
        plot.yaxis.ticker = models.BasicTicker(min_interval=1)


def thinned(values: np.ndarray, points: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Means over at most `points` equal windows: the last step of each window, and its mean; NaN is ignored."""
    edges = np.linspace(0, len(values), min(points, len(values)) + 1).round().astype(int)
    finite = np.isfinite(values)
    totals = np.add.reduceat(np.where(finite, values, 0.0), edges[:-1])
    counts = np.add.reduceat(finite.astype(int), edges[:-1])
    means = np.divide(totals, counts, out=np.full(len(totals), np.nan), where=counts > 0)
    return edges[1:], means


def smoothed(values: np.ndarray, share: float = 0.03) -> np.ndarray:
    """Centred moving average over a share of the curve; NaN is ignored."""
    half = max(1, int(len(values) * share / 2))
    finite = np.isfinite(values)
    totals = np.concatenate([[0.0], np.where(finite, values, 0.0).cumsum()])
    counts = np.concatenate([[0], finite.cumsum()])
    places = np.arange(len(values))
    low, high = (places - half).clip(0), (places + half + 1).clip(max=len(values))
    count = counts[high] - counts[low]
    return np.divide(totals[high] - totals[low], count, out=np.full(len(values), np.nan), where=count > 0)


def _marked(plot: figure, marks: Sequence[Mark]) -> None:
    """Draw a thin dashed line at each decision, and a triangle at the bottom, below the curves, with a tooltip."""
    if marks:
        what, why = [mark.what for mark in marks], [mark.why for mark in marks]
        source = models.ColumnDataSource({"x": [mark.iteration for mark in marks], "what": what, "why": why})
        plot.vspan(x="x", source=source, line_color=QUIET, line_alpha=0.3, line_dash="dashed", level="underlay")
        plot.extra_y_ranges = {BOTTOM: models.Range1d(0, 1)}
        points = plot.scatter(
            "x", y=0.03, source=source, marker="triangle", size=9, color=MARKED, line_color=None, y_range_name=BOTTOM
        )
        tips = [("iteration", "@x{0,0}"), ("decision", "@what"), ("why", "@why")]
        plot.add_tools(models.HoverTool(renderers=[points], tooltips=tips))
