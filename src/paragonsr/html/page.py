"""Self-contained HTML: one file, everything inline, readable offline, dark and light."""

import io
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image as PillowImage

from paragonsr.html.charts import Line, embedded, figure, library

LONG_CELL = 40
"""Characters of a table's cell above which it may be wrapped anywhere."""
THUMBNAIL_PIXELS = 144
"""Longer side of a picture in a gallery."""


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("paragonsr.html"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )


def _part(name: str, *values: Any) -> Markup:
    """One part of a page, by its macro in parts.html.j2."""
    macro = getattr(_templates().get_template("parts.html.j2").module, name)
    return Markup(macro(*values))


class Page:
    """An HTML page that grows part by part.

    Args:
        title: heading and title of the window.
        lead: one sentence below it.
    """

    def __init__(self, title: str, lead: str) -> None:
        self._title = title
        self._lead = lead
        self._parts: list[Markup] = []
        self._scripts: list[Markup] = []

    def heading(self, text: str, note: str = "") -> None:
        """Begin a section; the note explains it."""
        self._parts.append(_part("heading", text, note))

    def subheading(self, text: str) -> None:
        """Begin a part of a section."""
        self._parts.append(_part("subheading", text))

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(_part("paragraph", text))

    def table(self, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add a table.

        Columns of whole numbers are grouped by thousands and set to the right. Wide tables scroll by themselves, long
        texts are wrapped.
        """
        self._parts.append(_table(header, list(rows)))

    def folded(self, summary: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add a table that opens on a click."""
        self._parts.append(_part("folded", summary, _table(header, list(rows))))

    def heat_table(self, names: Sequence[str], values: NDArray[np.float64]) -> None:
        """Add a table of correlations, len(names) x len(names) in -1..1: the stronger, the darker; NaN is a dash."""
        rows = [(name, [_heat(value) for value in line]) for name, line in zip(names, values.tolist(), strict=True)]
        self._parts.append(_part("heat_table", names, rows))

    def picture(self, png: bytes, words: str) -> None:
        """Add a PNG with what it shows."""
        self._parts.append(_part("picture", _inline(png, "png"), words))

    def gallery(self, title: str, pictures: Iterable[tuple[NDArray[np.uint8] | None, str]]) -> None:
        """Add small pictures (H x W x C, uint8) with a caption each; None leaves only the caption."""
        shown = [(None if image is None else _thumbnail(image), words) for image, words in pictures]
        if shown:
            self._parts.append(_part("gallery", title, shown))

    def colours(self, entries: Mapping[str, str]) -> None:
        """Say what colours mean: name -> CSS colour."""
        self._parts.append(_part("colours", list(entries.items())))

    def legend(self, entries: Mapping[str, Line]) -> None:
        """Add one legend for all charts, whose curves carry these names; a click hides a curve everywhere."""
        self._parts.append(_part("legend", list(entries.items())))
        script = _templates().get_template("hide.js").render()
        self._scripts.append(Markup(f"<script>{script}</script>"))

    def charts(self, charts: Sequence[figure], captions: Sequence[str] = (), least_width: int = 440) -> None:
        """Add Bokeh figures, side by side where each has `least_width` pixels; captions, if any, one each."""
        if charts:
            script, divisions = embedded(charts)
            self._scripts.append(Markup(script))
            words = captions or [""] * len(charts)
            entries = [(Markup(division), caption) for division, caption in zip(divisions, words, strict=True)]
            self._parts.append(_part("charts", entries, least_width))

    def html(self) -> str:
        """The whole page."""
        return (
            _templates()
            .get_template("page.html.j2")
            .render(
                title=self._title,
                lead=self._lead,
                parts=self._parts,
                scripts=self._scripts,
                library=Markup(library()) if self._scripts else "",
            )
            + "\n"
        )


def grouped(number: int) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Markup:
    numbers = [bool(rows) and all(_is_whole(row[i]) for row in rows) for i in range(len(header))]
    cells = [[_cell(value, number=n) for value, n in zip(row, numbers, strict=True)] for row in rows]
    return _part("table", header, cells, numbers)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _cell(value: Any, *, number: bool) -> tuple[str, str]:
    """Text and CSS class of a cell."""
    if number:
        return grouped(value), "number"
    text = str(value)
    return text, "long" if len(text) > LONG_CELL else ""


def _heat(value: float) -> tuple[str, str, str]:
    """Text, colour and opacity of a cell."""
    if np.isnan(value):
        return "-", "", ""
    return f"{value:.2f}", "plus" if value > 0 else "minus", f"{0.75 * abs(value):.2f}"


def _thumbnail(image: NDArray[np.uint8]) -> str:
    small = PillowImage.fromarray(image)
    small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    content = io.BytesIO()
    small.save(content, format="JPEG", quality=85)
    return _inline(content.getvalue(), "jpeg")


def _inline(data: bytes, kind: str) -> str:
    """The picture as an address that needs no other file."""
    return f"data:image/{kind};base64,{b64encode(data).decode()}"
