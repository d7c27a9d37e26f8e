"""The chart of one score: what a selection keeps of it, and where the thresholds are."""

from collections.abc import Sequence

import numpy as np

from paragonsr.curation.expression import Threshold
from paragonsr.curation.statistics import BINS, QUANTILES, Distribution
from paragonsr.html.charts import COLOURS, MARKED, QUIET, blank, figure, models
from paragonsr.html.page import grouped

KEPT = COLOURS[0]
DROPPED = QUIET
THRESHOLD = MARKED
COLUMN_PIXELS = 320
"""Least width of a chart on the page."""
_SIGNS = {">=": "≥", "<=": "≤", "<>": "≠"}


def histogram(shown: Distribution, thresholds: Sequence[Threshold]) -> figure:
    """The distribution of one score: the tiles kept at the bottom, the dropped ones on top of them."""
    plot = blank(shown.name, "", "", width=340, height=170)
    edges = np.linspace(shown.low, shown.high, BINS + 1)
    tiles = {
        "left": edges[:-1],
        "right": edges[1:],
        "kept": shown.kept,
        "dropped": shown.dropped,
        "total": shown.kept + shown.dropped,
    }
    source = models.ColumnDataSource(tiles)
    between = {"left": "left", "right": "right", "source": source, "line_color": None}
    bars = plot.quad(bottom=0, top="kept", fill_color=KEPT, **between)
    plot.quad(bottom="kept", top="total", fill_color=DROPPED, fill_alpha=0.5, **between)
    tips = [(shown.name, "@left to @right"), ("kept", "@kept{0,0}"), ("dropped", "@dropped{0,0}")]
    plot.add_tools(models.HoverTool(renderers=[bars], tooltips=tips, mode="vline"))
    plot.xaxis.formatter = models.BasicTickFormatter()
    plot.x_range.update(start=shown.low, end=shown.high)
    plot.y_range.update(start=0)
    plot.yaxis.visible, plot.grid.visible = False, False
    tallest = int(tiles["total"].max())
    for threshold in thresholds:
        at = min(shown.high, max(shown.low, threshold.value))
        right = at > shown.low + 0.7 * (shown.high - shown.low)
        words = f"{_SIGNS.get(threshold.operator, threshold.operator)} {threshold.value:.4g}"
        line = {"line_color": THRESHOLD, "line_width": 1.5, "line_dash": "dashed"}
        plot.add_layout(models.Span(location=at, dimension="height", **line))
        place = {"x": at, "y": tallest, "x_offset": -4 if right else 4, "text_align": "right" if right else "left"}
        look = {"text_color": THRESHOLD, "text_font_size": "11px", "text_baseline": "top"}
        plot.add_layout(models.Label(text=words, **place, **look))
    return plot


def in_words(shown: Distribution) -> str:
    """Mean and quantiles, for the caption."""
    p = {share: _digits(value) for share, value in zip(QUANTILES, shown.quantiles, strict=True)}
    return f"mean {_digits(shown.mean)}, P10 {p[0.1]}, median {p[0.5]}, P90 {p[0.9]}"


def _digits(value: float) -> str:
    """Three digits; no power of ten where whole numbers say it."""
    return grouped(round(value)) if abs(value) >= 1000 else f"{value:.3g}"
