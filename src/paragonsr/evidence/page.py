"""Self-contained HTML: one file, everything inline, readable offline, dark and light."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from paragonsr.evidence.plots import Line

STYLE = """
:root { color-scheme: light dark;
        --ink: #1d1d21; --quiet: #62626b; --paper: #fcfcfb; --line: #dcdcd8; --mark: #0b6aa8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e6; --quiet: #a3a3ab; --paper: #17181b; --line: #34353a; --mark: #6fb7ea; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
p.lead { color: var(--quiet); margin-top: 0; }
.wide { overflow-x: auto; margin-bottom: 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--quiet); font-weight: 600; white-space: nowrap; }
td { white-space: nowrap; }
td.long { white-space: pre-line; overflow-wrap: anywhere; min-width: 11rem; }
@media (max-width: 600px) { td.long { min-width: 8rem; } th, td { padding-right: .6rem; } }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 1rem; }
.plots > div { min-width: 0; }
img { width: 100%; min-width: 640px; }
summary { cursor: pointer; color: var(--mark); }
.legend { position: sticky; top: 0; z-index: 1; background: var(--paper); padding: .3rem 0; font-size: .85rem; }
.legend button { font: inherit; color: inherit; background: none; border: 0; padding: .1rem 0; margin-right: 1.1rem;
                 cursor: pointer; }
.legend button[aria-pressed=false] { opacity: .35; text-decoration: line-through; }
.legend i { display: inline-block; width: 1.6em; margin-right: .4em; vertical-align: .25em; }
"""


HIDING = """
for (const button of document.querySelectorAll(".legend button")) button.onclick = () => {
  const shown = button.getAttribute("aria-pressed") != "true";
  button.setAttribute("aria-pressed", shown);
  const name = button.textContent, hidden = new Set(
    [...document.querySelectorAll(".legend [aria-pressed=false]")].map(other => other.textContent));
  for (const page of Bokeh.documents) for (const model of page.all_models) {
    if (model.name === name) model.visible = shown;
    if (model.tags.includes("points")) model.data = {...model.data,
      y: Array.from(model.data.height, (y, i) => hidden.has(model.data.name[i]) ? NaN : y)};
  }
};
"""
LONG = 40
"""Characters of a cell from which on it may be wrapped anywhere."""


class Page:
    """An HTML page that grows section by section.

    Args:
        title: heading and title of the window.
        lead: one sentence below it.
    """

    def __init__(self, title: str, lead: str) -> None:
        self._title = title
        self._parts = [f"<h1>{escape(title)}</h1>", f'<p class="lead">{escape(lead)}</p>']
        self._scripts: list[str] = []

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def subheading(self, text: str) -> None:
        """Begin a part of a section."""
        self._parts.append(f"<h3>{escape(text)}</h3>")

    def text(self, text: str) -> None:
        """A paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table; wide ones scroll by themselves, long texts are wrapped."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(_cell(str(cell)) for cell in row) + "</tr>" for row in rows)
        self._parts.append(f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>')

    def folded(self, summary: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table that is shown when it is asked for."""
        self._parts.append(f"<details><summary>{escape(summary)}</summary>")
        self.table(header, rows)
        self._parts.append("</details>")

    def picture(self, png: bytes, words: str) -> None:
        """A PNG with what it shows."""
        from base64 import b64encode

        data = b64encode(png).decode()
        image = f'<img alt="{escape(words)}" src="data:image/png;base64,{data}">'
        self._parts.append(f'<p>{escape(words)}</p><div class="wide">{image}</div>')

    def legend(self, entries: Mapping[str, Line]) -> None:
        """One legend for all plots, whose lines carry these names; a click hides a line everywhere."""
        buttons = "".join(
            f'<button aria-pressed="true"><i style="border-top: 3px {line.dash} {line.colour}"></i>'
            f"{escape(name)}</button>"
            for name, line in entries.items()
        )
        self._parts.append(f'<div class="legend">{buttons}</div>')
        self._scripts.append(f"<script>{HIDING}</script>")

    def plots(self, values: Sequence[Any]) -> None:
        """Bokeh figures, side by side where there is room."""
        from bokeh.embed import components

        if values:
            script, divisions = components(tuple(values))
            self._scripts.append(script)
            self._parts.append('<div class="plots">' + "".join(f"<div>{d}</div>" for d in divisions) + "</div>")

    def html(self) -> str:
        """The whole page."""
        resources = _scripts() if self._scripts else ""
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(self._title)}</title>'
            f'<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
            f"<style>{STYLE}</style>{resources}</head><body>{''.join(self._parts)}{''.join(self._scripts)}</body></html>\n"
        )


def _cell(text: str) -> str:
    kind = ' class="long"' if len(text) > LONG else ""
    return f"<td{kind}>{escape(text)}</td>"


def _scripts() -> str:
    """Bokeh's own script, inline, without the parts for widgets, tables and formulas."""
    from bokeh.resources import Resources

    scripts: str = Resources(mode="inline", components=["bokeh"]).render()
    return scripts
