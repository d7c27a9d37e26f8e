"""Benchmark table: metric values of a network on a folder of HR images, compared with bicubic."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paragonsr import resize
from paragonsr.data.decoding import load_pair
from paragonsr.data.options import PairedOptions, SingleOptions
from paragonsr.data.pairing import Pair, find_pairs, match
from paragonsr.errors import UserError
from paragonsr.inference.model import Tile, Upscaler
from paragonsr.metrics.base import Metric
from paragonsr.metrics.options import MetricOptions, PSNRYOptions, SSIMYOptions
from paragonsr.metrics.protocol import mean_of_images

DEFAULT: dict[str, MetricOptions] = {"psnr_y": PSNRYOptions(), "ssim_y": SSIMYOptions()}
"""Default metrics, as reported in papers."""
PHASE = "benchmark"


@dataclass(frozen=True)
class Row:
    """Values of one image: metric -> value, of the network and of bicubic upscaling."""

    name: str
    network: dict[str, float]
    bicubic: dict[str, float]


@dataclass(frozen=True)
class Table:
    """Metric values of a network on a set of images."""

    rows: tuple[Row, ...]
    metrics: dict[str, Metric]
    scale: int
    ensemble: bool = False
    """Whether the self-ensemble over eight orientations was measured."""

    def mean(self) -> Row:
        """Mean over the images; exactly reproduced images (PSNR inf) are left out."""

        def of(values: list[dict[str, float]]) -> dict[str, float]:
            return {name: mean_of_images([v[name] for v in values]).value for name in self.metrics}

        return Row("mean", of([row.network for row in self.rows]), of([row.bicubic for row in self.rows]))

    @property
    def protocol(self) -> dict[str, str]:
        """Metric -> its protocol."""
        return {name: metric.protocol for name, metric in self.metrics.items()}

    def lines(self) -> Iterator[str]:
        """Table for a terminal: each metric of the network and of bicubic, and the gain."""
        rows = (*self.rows, self.mean())
        width = max(len(row.name) for row in rows)
        yield " " * width + "".join(f"   {name:>9}  {'bicubic':>9}  {'gain':>8}" for name in self.metrics)
        for row in rows:
            cells = ((row.network[name], row.bicubic[name]) for name in self.metrics)
            yield f"{row.name:{width}}" + "".join(f"   {a:9.4f}  {b:9.4f}  {a - b:+8.4f}" for a, b in cells)
        for name in self.metrics:
            exact = sum(np.isinf(row.network[name]) for row in self.rows)
            if exact:
                yield f"{exact} of {len(self.rows)} images were reproduced exactly and are left out of the mean {name}"
        for name, metric in self.metrics.items():
            lower = "" if metric.better == "higher" else "  (lower is better)"
            yield f"{name}: {metric.protocol}{lower}"

    def as_csv(self) -> str:
        """Table as CSV: one line per image, and the mean in the last line."""
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(["image", *self.metrics, *(f"bicubic_{name}" for name in self.metrics)])
        for row in (*self.rows, self.mean()):
            writer.writerow([row.name, *row.network.values(), *row.bicubic.values()])
        return lines.getvalue()

    def as_dict(self) -> dict[str, Any]:
        """Table as JSON-serialisable values; an infinite PSNR is the string "inf", since JSON has no such number."""
        return {
            "scale": self.scale,
            "ensemble": "x8" if self.ensemble else None,
            "protocol": self.protocol,
            "images": {row.name: _plain(row) for row in self.rows},
            "mean": _plain(self.mean()),
        }


def _plain(row: Row) -> dict[str, Any]:
    return {
        kind: {name: value if np.isfinite(value) else str(value) for name, value in values.items()}
        for kind, values in (("network", row.network), ("bicubic", row.bicubic))
    }


def benchmark(
    upscaler: Upscaler,
    hr: Path,
    lr: Path | None = None,
    *,
    metrics: Mapping[str, MetricOptions] = DEFAULT,
    tile: Tile = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Table:
    """Measure a network on all images of a folder.

    Args:
        upscaler: the network.
        hr: folder of HR images.
        lr: folder of LR images, named like the HR images or with the suffix `x2`, `x3`, ...; made from the HR images
            by MATLAB's bicubic if not given.
        metrics: name -> metric.
        tile: maximum side of a tile in LR pixels; 0 processes each image as a whole.
        progress: called with the number of images done and their total.

    Raises:
        UserError: a folder or an image cannot be used.
    """
    pairs = _pairs(hr, lr, upscaler.scale)
    built = {name: options.build(scale=upscaler.scale) for name, options in metrics.items()}
    rows = []
    for done, pair in enumerate(pairs, 1):
        hr_image, lr_image = load_pair(pair, upscaler.scale)
        images = upscaler.upscale(lr_image, tile=tile), resize.upscale(lr_image, upscaler.scale)
        network, bicubic = (
            {name: metric.measure(image, hr_image) for name, metric in built.items()} for image in images
        )
        rows.append(Row(pair.name, network, bicubic))
        progress(done, len(pairs))
    return Table(tuple(rows), built, upscaler.scale, upscaler.ensemble)


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
        # The message would name keys of a configuration, which does not exist here.
        raise UserError(error.what, where=f"{hr}" if lr is None else f"{hr} and {lr}") from error
