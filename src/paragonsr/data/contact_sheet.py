"""Contact sheet of a degradation: what it makes of one crop, with the parameters underneath."""

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from paragonsr.data.decoding import load_hr
from paragonsr.data.options import DatasetOptions
from paragonsr.data.packed import packed_before
from paragonsr.data.pairing import find_pairs
from paragonsr.data.recipe import degraded
from paragonsr.degradation.base import AnyDegradation, Degradation, Image, Parameters

PANEL = 288
"""Side of a panel, and of the crop of the HR image, in pixels; LR images are shown with each pixel as a square."""
COLUMNS = 4
GAP = 12
LINE = 16
"""Height of a line of text in pixels."""
LETTERS = 48
"""Number of letters in a line of text."""
INK, QUIET, PAPER = (28, 28, 32), (105, 105, 115), (250, 250, 250)


def contact_sheet(hr: Image, degradation: AnyDegradation, scale: int, count: int) -> Image:
    """Draw the crop, followed by samples 0 .. count - 1 of it.

    Args:
        hr: at least `scale` pixels a side; its centre is shown.
        degradation: makes the samples.
        scale: HR side / LR side.
        count: number of samples.

    Returns:
        uint8 RGB.
    """
    crop = _centre(hr, scale)
    panels, captions = [crop], [["original", f"{crop.shape[1]} x {crop.shape[0]} pixels of the HR image"]]
    for sample in range(count):
        if isinstance(degradation, Degradation):
            lq, parameters = degradation.explained(crop, sample)
        else:
            lq, parameters = degraded(degradation, crop, sample), {}
        panels.append(lq)
        captions.append([f"sample {sample}", *described(parameters)])
    return _drawn(panels, [_wrapped(caption) for caption in captions])


def sheet_of_set(options: DatasetOptions, scale: int, phase: str, seed: int, count: int = 7) -> Image | None:
    """Contact sheet of a set's degradation, of its first HR image; None if it has none.

    A packed set whose folders have not changed is not walked: the image is that of the store.

    Args:
        options: `datasets.<phase>`.
        scale: HR side / LR side.
        phase: for messages.
        seed: seed of the run.
        count: number of samples.

    Raises:
        UserError: there are no images, the first cannot be read, or something that the degradation needs is missing.
    """
    chosen = options.degrades()
    if chosen is None:
        return None
    store = packed_before(options, scale, phase)
    hr = load_hr(find_pairs(options, phase)[0], scale) if store is None else store.hr(0)
    return contact_sheet(np.array(hr), chosen.build(scale=scale, seed=seed), scale, count)


def described(parameters: Parameters) -> list[str]:
    """One line for each step: "blur iso, size 13, sigma 1.24"."""
    steps: dict[str, list[str]] = {}
    for name, value in parameters.items():
        step, _, parameter = name.rpartition(".")
        if parameter == "branch":
            continue
        shown = steps.setdefault(step, [])
        if isinstance(value, bool):
            shown += [parameter] if value else []
        elif isinstance(value, str):
            shown.append(value)
        else:
            shown.append(f"{parameter} {value:.3g}")
    return [f"{step.rpartition('.')[2]} {', '.join(values)}" for step, values in steps.items()]


def _centre(hr: Image, scale: int) -> Image:
    height, width = (min(side, PANEL) // scale * scale for side in hr.shape[:2])
    top, left = (hr.shape[0] - height) // 2, (hr.shape[1] - width) // 2
    return np.ascontiguousarray(hr[top : top + height, left : left + width])


def _wrapped(caption: Sequence[str]) -> list[str]:
    return [part for line in caption for part in textwrap.wrap(line, LETTERS, subsequent_indent="    ")]


def _drawn(panels: Sequence[Image], captions: Sequence[Sequence[str]]) -> Image:
    rows = [range(start, min(start + COLUMNS, len(panels))) for start in range(0, len(panels), COLUMNS)]
    feet = [LINE * max(len(captions[i]) for i in row) + 2 * GAP for row in rows]
    columns = min(COLUMNS, len(panels))
    sheet = Pillow.new("RGB", (columns * (PANEL + GAP) + GAP, GAP + sum(PANEL + foot for foot in feet)), PAPER)
    pen, head, text = ImageDraw.Draw(sheet), ImageFont.load_default(14), ImageFont.load_default(12)
    top = GAP
    for row, foot in zip(rows, feet, strict=True):
        for column, i in enumerate(row):
            left = GAP + column * (PANEL + GAP)
            height, width = panels[i].shape[:2]
            factor = PANEL / max(height, width)
            size = (round(width * factor), round(height * factor))
            sheet.paste(Pillow.fromarray(panels[i]).resize(size, Pillow.Resampling.NEAREST), (left, top))
            for number, line in enumerate(captions[i]):
                at = (left, top + PANEL + GAP // 2 + number * LINE)
                pen.text(at, line, *((INK, head) if number == 0 else (QUIET, text)))
        top += PANEL + foot
    return np.asarray(sheet)
