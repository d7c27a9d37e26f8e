"""The pieces of the report as HTML and SVG text: one file, no script, readable offline, dark and light."""

import io
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from paragonsr.curation.expression import Threshold
from paragonsr.curation.statistics import BINS, QUANTILES, Distribution
from paragonsr.data.resize import Image

STYLE = """
:root { color-scheme: light dark; --ink: #1d1d21; --quiet: #62626b; --paper: #fcfcfb; --line: #dcdcd8;
        --kept: #0b6aa8; --dropped: #c3c6ca; --mark: #c2410c; --plus: 11, 106, 168; --minus: 194, 65, 12; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e6; --quiet: #a3a3ab; --paper: #17181b; --line: #34353a;
          --kept: #6fb7ea; --dropped: #4a4d53; --mark: #fb923c; --plus: 111, 183, 234; --minus: 251, 146, 60; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
h3 { font-size: .95rem; margin: 1.2rem 0 .4rem; }
p.lead, p.note, figcaption { color: var(--quiet); }
p.lead { margin-top: 0; }
p.note { margin: .2rem 0 .8rem; font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td:last-child { overflow-wrap: anywhere; padding-right: 0; }
th { color: var(--quiet); font-weight: 600; }
td.number, th.number { text-align: right; }
table.heat td { text-align: center; padding: .3rem .35rem; border: 1px solid var(--paper); font-size: .78rem;
                min-width: 2rem; vertical-align: middle; overflow-wrap: normal; }
table.heat th { font-size: .78rem; padding: .2rem .35rem; border: 0; vertical-align: middle; }
table.heat th.column { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 1.4rem 1.6rem; }
.charts figure, .gallery figure { margin: 0; }
.charts b { font-size: .95rem; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: var(--quiet); }
.kept { fill: var(--kept); } .dropped { fill: var(--dropped); }
.threshold { stroke: var(--mark); stroke-width: 1.5; stroke-dasharray: 4 3; }
svg text.threshold-text { fill: var(--mark); }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: .7rem; }
.gallery img { width: 100%; aspect-ratio: 1; object-fit: cover; display: block; border-radius: 3px; }
figcaption { font-size: .78rem; line-height: 1.35; margin-top: .2rem; }
.gallery figcaption { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; vertical-align: -.05em;
       margin: 0 .3em 0 .8em; }
"""

_WIDTH = 340
_HEIGHT = 120
_FOOT = 18
_HEAD = 16
"""Sides of a chart and of the space below and above it, in pixels."""


def page(title: str, lead: str, parts: Iterable[str]) -> str:
    """The whole page."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f'<p class="lead">{escape(lead)}</p>{"".join(parts)}</body></html>\n'
    )


def heading(text: str, note: str = "") -> str:
    """The beginning of a section."""
    return f"<h2>{escape(text)}</h2>" + (f'<p class="note">{escape(note)}</p>' if note else "")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; whole numbers are grouped by thousands and stand to the right, and so do their headings."""
    body = list(rows)
    right = [bool(body) and isinstance(value, int) for value in (body[0] if body else header)]

    def line(tag: str, values: Sequence[Any]) -> str:
        cells = (
            f"<{tag}{' class=number' if is_right else ''}>{_shown(value)}</{tag}>"
            for value, is_right in zip(values, right, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    return f'<div class="wide"><table>{line("th", header)}{"".join(line("td", row) for row in body)}</table></div>'


def histogram(shown: Distribution, about: str, thresholds: Sequence[Threshold]) -> str:
    """The distribution of one score: what is kept stands on the axis, what is dropped on top of it."""
    tallest = max(1, int((shown.kept + shown.dropped).max()))
    width = _WIDTH / BINS
    bars = []
    for i, (kept, dropped) in enumerate(zip(shown.kept.tolist(), shown.dropped.tolist(), strict=True)):
        base = _HEAD + _HEIGHT
        for kind, count in (("kept", kept), ("dropped", dropped)):
            height = count / tallest * _HEIGHT
            base -= height
            if count:
                bars.append(
                    f'<rect class="{kind}" x="{i * width:.2f}" y="{base:.2f}" width="{width - 0.6:.2f}" '
                    f'height="{max(height, 0.6):.2f}"/>'
                )
    lines = []
    for threshold in thresholds:
        share = min(1.0, max(0.0, (threshold.value - shown.low) / (shown.high - shown.low)))
        x = share * _WIDTH
        anchor = "end" if share > 0.7 else "start"
        words = f"{_SIGNS.get(threshold.operator, threshold.operator)} {threshold.value:.4g}"
        lines.append(
            f'<line class="threshold" x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="{_HEAD + _HEIGHT}"/>'
            f'<text class="threshold-text" x="{x + (-4 if anchor == "end" else 4):.1f}" y="11" '
            f'text-anchor="{anchor}">{escape(words)}</text>'
        )
    bottom = _HEAD + _HEIGHT + 13
    axis = (
        f'<text x="0" y="{bottom}">{_figure(shown.low)}</text>'
        f'<text x="{_WIDTH}" y="{bottom}" text-anchor="end">{_figure(shown.high)}</text>'
        f'<text x="{_WIDTH / 2}" y="{bottom}" text-anchor="middle">{_figure((shown.low + shown.high) / 2)}</text>'
    )
    p = {share: _figure(value) for share, value in zip(QUANTILES, shown.quantiles, strict=True)}
    values = f"mean {_figure(shown.mean)}, P10 {p[0.1]}, median {p[0.5]}, P90 {p[0.9]}"
    return (
        f"<figure><b>{escape(shown.name)}</b>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEAD + _HEIGHT + _FOOT}" role="img" aria-label="{values}">'
        f"{''.join(bars)}{''.join(lines)}{axis}</svg>"
        f"<figcaption>{values}<br>{escape(about)}</figcaption></figure>"
    )


def heat_table(names: Sequence[str], values: NDArray[np.float64]) -> str:
    """Correlations, the stronger the darker; blue for positive, orange for negative ones."""
    head = "<tr><th></th>" + "".join(f'<th class="column">{escape(name)}</th>' for name in names) + "</tr>"
    rows = []
    for name, line in zip(names, values.tolist(), strict=True):
        cells = []
        for value in line:
            if np.isnan(value):
                cells.append("<td>-</td>")
                continue
            tone = "plus" if value > 0 else "minus"
            cells.append(f'<td style="background: rgba(var(--{tone}), {0.75 * abs(value):.2f})">{value:.2f}</td>')
        rows.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")
    return f'<div class="wide"><table class="heat">{head}{"".join(rows)}</table></div>'


def gallery(title: str, pictures: Iterable[tuple[Image | None, str]]) -> str:
    """Small pictures with a caption each; one that cannot be shown leaves its caption."""
    values = [
        f"<figure>{_picture(image, words)}<figcaption title={quoteattr(words)}>{escape(words)}</figcaption></figure>"
        for image, words in pictures
    ]
    return f'<h3>{escape(title)}</h3><div class="gallery">{"".join(values)}</div>' if values else ""


def key() -> str:
    """What the two colours of the histograms mean."""
    return (
        '<p class="note"><span class="key" style="background: var(--kept); margin-left: 0"></span>kept'
        '<span class="key" style="background: var(--dropped)"></span>dropped'
        '<span class="key" style="background: var(--mark)"></span>threshold</p>'
    )


_SIGNS = {">=": "≥", "<=": "≤", "<>": "≠"}

_SIDE = 144
"""Of a small picture, in pixels."""


def _shown(value: Any) -> str:
    return f"{value:,}".replace(",", "\u202f") if isinstance(value, int) else escape(str(value))


def _figure(value: float) -> str:
    """Three digits; no power of ten where whole numbers say it."""
    return _shown(round(value)) if abs(value) >= 1000 else f"{value:.3g}"


def _picture(image: Image | None, words: str) -> str:
    if image is None:
        return ""
    small = PillowImage.fromarray(image)
    small.thumbnail((_SIDE, _SIDE))
    content = io.BytesIO()
    small.save(content, format="JPEG", quality=85)
    data = b64encode(content.getvalue()).decode()
    return f'<img alt="{escape(words)}" src="data:image/jpeg;base64,{data}">'
