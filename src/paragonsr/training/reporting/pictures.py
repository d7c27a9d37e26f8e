"""Comparison picture: LR, bicubic, SR and HR of the same crop, side by side with their PSNR."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from paragonsr import resize
from paragonsr.data.images import write_png
from paragonsr.metrics.psnr import psnr
from paragonsr.training.engine.validation import Validator

CROP = 96
"""Side of the shown crop, in HR pixels."""
PANEL = 288
"""Side of a panel in pixels; crops are upscaled to it with nearest neighbour, so that their pixels stay visible."""
ROWS = 4
GAP = 8
HEAD = 26
FOOT = 22
"""Space between panels, above and below them, in pixels."""
INK = (28, 28, 32)
PAPER = (250, 250, 250)
QUIET = (105, 105, 115)


def comparison_picture(validator: Validator, network: nn.Module, path: Path) -> Path:
    """Draw one row of panels for each of the first images of the deciding validation set.

    The crop is where the HR image differs most from its bicubic reconstruction, since that is where methods differ.
    The PSNR-Y below a panel is of the whole image, shaved by the scale.
    """
    scale = validator.scale
    store = validator.sets[0].store
    rows = []
    for index in range(min(ROWS, len(store))):
        lr, hr = np.array(store.lq(index)), np.array(store.hr(index))
        bicubic = resize.upscale(lr, scale)
        sr = validator.upscale(network, lr)
        y, x = busiest(bicubic, hr, scale)
        crop = np.s_[y : y + CROP, x : x + CROP]
        small = np.s_[y // scale : (y + CROP) // scale, x // scale : (x + CROP) // scale]
        values = [psnr(image, hr, shave=scale, luma=True) for image in (bicubic, sr)]
        panels = [lr[small], bicubic[crop], sr[crop], hr[crop]]
        labels = [
            store.names[index],
            f"{values[0]:.2f} dB",
            f"{values[1]:.2f} dB  ({values[1] - values[0]:+.2f})",
            "",
        ]
        rows.append((panels, labels))
    write_png(path, sheet(rows, ["LR", "bicubic", "SR", "HR"]))
    return path


def busiest(bicubic: np.ndarray, hr: np.ndarray, scale: int) -> tuple[int, int]:
    """Top left corner, a multiple of the scale, of the crop with the largest bicubic error."""
    error = np.abs(bicubic.astype(np.int64) - hr).sum(axis=2)
    area = np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    height, width = (min(CROP, side) for side in error.shape)
    sums = area[height:, width:] - area[:-height, width:] - area[height:, :-width] + area[:-height, :-width]
    sums = sums[::scale, ::scale]
    y, x = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(y) * scale, int(x) * scale


def sheet(rows: list[tuple[list[np.ndarray], list[str]]], titles: list[str]) -> np.ndarray:
    """Panels in rows and columns, each upscaled to PANEL pixels a side, with a title per column and a label per panel.

    Args:
        rows: for each row its panels, square uint8 RGB of any size, and the label below each.
        titles: one per column.

    Returns:
        uint8 RGB.
    """
    width = len(titles) * (PANEL + GAP) + GAP
    height = HEAD + len(rows) * (PANEL + FOOT + GAP)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    head, foot = ImageFont.load_default(16), ImageFont.load_default(13)
    for column, title in enumerate(titles):
        pen.text((GAP + column * (PANEL + GAP) + PANEL // 2, HEAD // 2), title, INK, head, anchor="mm")
    for row, (panels, labels) in enumerate(rows):
        top = HEAD + row * (PANEL + FOOT + GAP)
        for column, (panel, label) in enumerate(zip(panels, labels, strict=True)):
            left = GAP + column * (PANEL + GAP)
            upscaled = Image.fromarray(np.ascontiguousarray(panel)).resize((PANEL, PANEL), Image.Resampling.NEAREST)
            sheet.paste(upscaled, (left, top))
            pen.text((left + PANEL // 2, top + PANEL + FOOT // 2), label, QUIET, foot, anchor="mm")
    return np.asarray(sheet)
