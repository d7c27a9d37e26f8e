"""Curves: raw and smoothed, means with intervals, decisions as marks. Colours that read on dark and on light."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Legend, NumeralTickFormatter
from bokeh.plotting import figure

COLOURS = ("#2f8fd8", "#e07b1a", "#2ca25f", "#d2539c", "#8a79d6", "#b8860b", "#17a2a2", "#c44e52")
QUIET, MARKED = "#8a8a93", "#e0483e"
WIDTH, HEIGHT = 500, 300


@dataclass(frozen=True)
class Mark:
    """Something that happened at an iteration."""

    iteration: int
    what: str
    why: str


@dataclass(frozen=True)
class Shaded:
    """A curve with an interval around it; low and high are None where none can be given."""

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def _blank(title: str, x: str, y: str, *, log: bool = False) -> figure:
    plot = figure(
        title=title,
        x_axis_label=x,
        y_axis_label=y,
        y_axis_type="log" if log else "linear",
        width=WIDTH,
        height=HEIGHT,
        sizing_mode="scale_width",
        tools="xwheel_zoom,box_zoom,xpan,reset",
        toolbar_location=None,
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
    )
    for axis in (plot.xaxis, plot.yaxis):
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = QUIET
        axis.axis_label_text_color = axis.major_label_text_color = QUIET
        axis.axis_label_text_font_style = "normal"
    plot.xaxis.formatter = NumeralTickFormatter(format="0.[0]a")
    plot.grid.grid_line_color, plot.grid.grid_line_alpha = QUIET, 0.2
    plot.title.text_color = QUIET
    return plot


def _with_legend(plot: figure, curves: int) -> figure:
    for legend in plot.legend:
        legend.visible = curves > 1
        assert isinstance(legend, Legend)
        legend.background_fill_alpha, legend.border_line_color = 0.0, None
        legend.label_text_color, legend.label_text_font_size = QUIET, "11px"
        legend.click_policy, legend.spacing, legend.padding = "hide", 14, 2
        plot.add_layout(legend, "below")
        legend.orientation = "horizontal"
    return plot


def shaded_curves(title: str, x: str, y: str, curves: Mapping[str, Shaded]) -> figure:
    """Mean curves of several arms with their intervals."""
    plot = _blank(title, x, y)
    for colour, (name, curve) in zip(_colours(len(curves)), curves.items(), strict=True):
        if curve.low is not None and curve.high is not None:
            plot.varea(curve.x, curve.low, curve.high, fill_color=colour, fill_alpha=0.18, legend_label=name)
        source = ColumnDataSource({"x": curve.x, "y": curve.y, "name": [name] * len(curve.x)})
        line = plot.line("x", "y", source=source, color=colour, line_width=2, legend_label=name)
        plot.scatter("x", "y", source=source, color=colour, size=4, legend_label=name)
        plot.add_tools(HoverTool(renderers=[line], tooltips=[("", "@name"), (x, "@x{0,0}"), (y, "@y{0.0000}")]))
    return _with_legend(plot, len(curves))


def step_curves(
    title: str,
    y: str,
    curves: Mapping[str, np.ndarray],
    marks: Sequence[Mark] = (),
    *,
    noisy: bool = True,
    log: bool = False,
) -> figure:
    """Per-step figures over iterations; noisy ones thin and pale as measured and thick as smoothed."""
    plot = _blank(title, "iteration", y, log=log)
    heights = np.full(len(marks), np.nan)
    for colour, (name, values) in zip(_colours(len(curves)), curves.items(), strict=True):
        x, curve = thinned(values)
        if noisy:
            plot.line(x, curve, color=colour, line_alpha=0.25, legend_label=name)
            curve = smoothed(curve)
        plot.line(x, curve, color=colour, line_width=2, legend_label=name)
        heights = np.where(np.isnan(heights), np.interp([mark.iteration for mark in marks], x, curve), heights)
    _marked(plot, marks, heights)
    return _with_legend(plot, len(curves))


def thinned(values: np.ndarray, points: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Means of equal windows, at most `points` of them: iterations (the windows' ends) and values; NaN is left out."""
    window = max(1, -(-len(values) // points))
    ends = np.arange(window, len(values) + window, window).clip(max=len(values))
    finite = np.isfinite(values)
    totals = np.add.reduceat(np.where(finite, values, 0.0), np.arange(0, len(values), window))
    counts = np.add.reduceat(finite.astype(int), np.arange(0, len(values), window))
    means = np.divide(totals, counts, out=np.full(len(totals), np.nan), where=counts > 0)
    return ends, means


def smoothed(values: np.ndarray, share: float = 0.03) -> np.ndarray:
    """Centred moving mean over a share of the curve; NaN is left out."""
    half = max(1, int(len(values) * share / 2))
    finite = np.isfinite(values)
    totals = np.concatenate([[0.0], np.where(finite, values, 0.0).cumsum()])
    counts = np.concatenate([[0], finite.cumsum()])
    places = np.arange(len(values))
    low, high = (places - half).clip(0), (places + half + 1).clip(max=len(values))
    count = counts[high] - counts[low]
    return np.divide(totals[high] - totals[low], count, out=np.full(len(values), np.nan), where=count > 0)


def _marked(plot: figure, marks: Sequence[Mark], heights: np.ndarray) -> None:
    """A dashed line at each decision, and a point on the first curve that tells it when the pointer comes near."""
    if marks:
        what, why = [mark.what for mark in marks], [mark.why for mark in marks]
        source = ColumnDataSource({"x": [mark.iteration for mark in marks], "y": heights, "what": what, "why": why})
        plot.vspan(x="x", source=source, line_color=QUIET, line_dash="dashed", line_width=1)
        points = plot.scatter("x", "y", source=source, marker="diamond", size=11, fill_color=MARKED, line_color=None)
        tips = [("iteration", "@x{0,0}"), ("decision", "@what"), ("why", "@why")]
        plot.add_tools(HoverTool(renderers=[points], tooltips=tips))


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]
