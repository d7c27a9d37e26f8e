"""What all charts of a report share: an empty figure, colours that read on dark and on light, curves' looks."""

from collections.abc import Sequence
from typing import NamedTuple

from paragonsr.errors import UserError

try:
    from bokeh import models
    from bokeh.embed import components
    from bokeh.plotting import figure
    from bokeh.resources import Resources
except ImportError:
    raise UserError("reports need the package bokeh", fix="pip install 'paragonsr[evidence]'") from None

COLOURS = ("#2f8fd8", "#e07b1a", "#2ca25f", "#d2539c", "#8a79d6", "#b8860b", "#17a2a2", "#c44e52")
DASHES = ("solid", "dashed", "dotted")
QUIET = "#8a8a93"
MARKED = "#e0483e"


class Line(NamedTuple):
    """How one of several curves is drawn, in words that Bokeh and CSS know."""

    colour: str
    dash: str


def lines(count: int) -> list[Line]:
    """Lines that can be told apart: colours first, then dashes."""
    return [Line(COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]) for i in range(count)]


def blank(title: str, x: str, y: str, *, width: int = 500, height: int = 300, log: bool = False) -> figure:
    """An empty chart.

    Args:
        title: above it.
        x: label of the axis.
        y: label of the axis.
        width: pixels, before it is scaled to the room it has.
        height: pixels.
        log: whether the y axis is logarithmic.
    """
    plot = figure(
        title=title,
        x_axis_label=x,
        y_axis_label=y,
        y_axis_type="log" if log else "linear",
        width=width,
        height=height,
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
    plot.xaxis.formatter = models.NumeralTickFormatter(format="0.[0]a")
    plot.grid.grid_line_color, plot.grid.grid_line_alpha = QUIET, 0.2
    plot.title.text_color = QUIET
    return plot


def embedded(charts: Sequence[figure]) -> tuple[str, tuple[str, ...]]:
    """A script for all charts, and an HTML element for each."""
    script, divisions = components(tuple(charts))
    return script, divisions


def library() -> str:
    """Bokeh's own script, inline, without the parts for widgets, tables and formulas."""
    scripts: str = Resources(mode="inline", components=["bokeh"]).render()
    return scripts
