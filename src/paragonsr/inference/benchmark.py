"""The benchmark table: PSNR-Y and SSIM-Y of a network on a folder of HR images, bicubic beside it."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paragonsr.data import resize
from paragonsr.data.decoding import load_pair
from paragonsr.data.options import PairedOptions, SingleOptions
from paragonsr.data.pairing import Pair, find_pairs, match
from paragonsr.errors import UserError
from paragonsr.inference.model import Tile, Upscaler
from paragonsr.metrics.options import PSNRYOptions, SSIMYOptions
from paragonsr.metrics.protocol import mean_of_images

METRICS = {"psnr_y": PSNRYOptions(), "ssim_y": SSIMYOptions()}
"""The figures that papers report."""
PHASE = "benchmark"


@dataclass(frozen=True)
class Row:
    """One image: metric -> value, of the network and of bicubic enlargement."""

    name: str
    network: dict[str, float]
    bicubic: dict[str, float]


@dataclass(frozen=True)
class Table:
    """Figures of a network on a set of images."""

    rows: tuple[Row, ...]
    scale: int
    ensemble: bool = False
    """Whether it is the mean over eight orientations that was measured."""

    def mean(self) -> Row:
        """Mean over the images; an image that is reproduced exactly (PSNR inf) is left out of it."""

        def of(values: list[dict[str, float]]) -> dict[str, float]:
            return {name: mean_of_images([f[name] for f in values]).value for name in METRICS}

        return Row("mean", of([row.network for row in self.rows]), of([row.bicubic for row in self.rows]))

    @property
    def protocol(self) -> dict[str, str]:
        """Metric -> what its figure was measured by."""
        return {name: metric.protocol(self.scale) for name, metric in METRICS.items()}

    def lines(self) -> Iterator[str]:
        """The table for a terminal."""
        width = max(len(row.name) for row in (*self.rows, self.mean()))
        yield f"{'':{width}}  {'PSNR-Y dB':>9}  {'bicubic':>9}  {'gain':>7}   {'SSIM-Y':>7}  {'bicubic':>7}"
        for row in (*self.rows, self.mean()):
            (psnr, ssim), (psnr0, ssim0) = ([f[m] for m in METRICS] for f in (row.network, row.bicubic))
            yield f"{row.name:{width}}  {psnr:9.3f}  {psnr0:9.3f}  {psnr - psnr0:+7.3f}   {ssim:7.4f}  {ssim0:7.4f}"
        exact = sum(np.isinf(row.network["psnr_y"]) for row in self.rows)
        if exact:
            yield f"{exact} of {len(self.rows)} images were reproduced exactly and are left out of the mean PSNR"
        for name, protocol in self.protocol.items():
            yield f"{name}: {protocol}"

    def as_csv(self) -> str:
        """The table as CSV: a line an image, the last one the mean."""
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(["image", *METRICS, *(f"bicubic_{name}" for name in METRICS)])
        for row in (*self.rows, self.mean()):
            writer.writerow([row.name, *row.network.values(), *row.bicubic.values()])
        return lines.getvalue()

    def as_dict(self) -> dict[str, Any]:
        """The table as JSON; an infinite PSNR is the string "inf", which JSON has no number for."""

        def figures(row: Row) -> dict[str, Any]:
            return {
                kind: {name: value if np.isfinite(value) else str(value) for name, value in values.items()}
                for kind, values in (("network", row.network), ("bicubic", row.bicubic))
            }

        return {
            "scale": self.scale,
            "ensemble": "x8" if self.ensemble else None,
            "protocol": self.protocol,
            "images": {row.name: figures(row) for row in self.rows},
            "mean": figures(self.mean()),
        }


def benchmark(
    upscaler: Upscaler,
    hr: Path,
    lr: Path | None = None,
    *,
    tile: Tile = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Table:
    """Measure a network on all images of a folder.

    Args:
        upscaler: the network.
        hr: folder of HR images.
        lr: folder of LR images, called like the HR ones or with `x2`, `x3`, ... after their names; made from the HR
            images by MATLAB's bicubic if not given.
        tile: largest side of a tile in LR pixels; 0 takes each image whole.
        progress: is told how many images are done, and of how many.

    Raises:
        UserError: a folder or an image cannot be used.
    """
    pairs = _pairs(hr, lr, upscaler.scale)
    rows = []
    for done, pair in enumerate(pairs, 1):
        hr_image, lr_image = load_pair(pair, upscaler.scale)
        images = upscaler.upscale(lr_image, tile=tile), resize.upscale(lr_image, upscaler.scale)
        network, bicubic = (
            {name: metric.measure(image, hr_image, upscaler.scale) for name, metric in METRICS.items()}
            for image in images
        )
        rows.append(Row(pair.name, network, bicubic))
        progress(done, len(pairs))
    return Table(tuple(rows), upscaler.scale, upscaler.ensemble)


def _pairs(hr: Path, lr: Path | None, scale: int) -> list[Pair]:
    try:
        if lr is None:
            return find_pairs(SingleOptions(dataroot_gt=str(hr)), PHASE)
        plain, suffixed = (
            PairedOptions(dataroot_gt=str(hr), dataroot_lq=str(lr), filename_tmpl=template)
            for template in ("{}", f"{{}}x{scale}")
        )
        return find_pairs(max((plain, suffixed), key=lambda options: len(match(options, PHASE).pairs)), PHASE)
    except UserError as error:
        # The keys of a configuration that the message would name do not exist here.
        raise UserError(error.what, where=f"{hr}" if lr is None else f"{hr} and {lr}") from error
