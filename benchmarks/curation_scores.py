"""Time of the built-in scores compared with earlier ones, and calibration of complexity.

    python benchmarks/curation_scores.py [FOLDER...] [--tiles 12] [--rounds 9] [--json FILE]
    python benchmarks/curation_scores.py --calibrate FOLDER...

The first command times `score_image` (ten scores) against `reference.stage1_metrics` (five) on tiles of 512 x 512
spread evenly over the folders, with and without decoding their PNG; without a folder the tiles are synthetic. A third
line adds the remaining cost of a row of the table: the perceptual hash and the hash of the pixels. Both sides take
turns, round by round, so that load on the machine affects both, and only CPU seconds of this thread count. The value is
the median of the rounds' ratios. Fails if ours is not WANTED times as fast.

The second command cuts the photographs of each folder into such tiles, and prints the distribution of complexity over
each folder and over all, and the two constants that give all tiles the published median and 90th percentile.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported: the comparison is on one core

import argparse
import io
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from reference.stage1_metrics import stage1_metrics

from paragonsr.curation.scores import complexity
from paragonsr.curation.scores.registry import score_image
from paragonsr.curation.scoring import measured
from paragonsr.data.images import SUFFIXES, read_image

SCORES, DECODED, ROW = "scores", "PNG decoded and scores", "PNG decoded, scores and both hashes"
WANTED = {SCORES: 5.0, DECODED: 1.7}
SIDE = 512
MEDIAN, TOP = 0.37, 0.55
"""Published median and 90th percentile of complexity."""

Tile = NDArray[np.uint8]


def tiles_of(folder: Path) -> Iterator[Tile]:
    """Non-overlapping tiles of every photograph, from the top left; smaller photographs give none."""
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES):
        image = read_image(path)
        for top in range(0, image.shape[0] - SIDE + 1, SIDE):
            for left in range(0, image.shape[1] - SIDE + 1, SIDE):
                yield np.ascontiguousarray(image[top : top + SIDE, left : left + SIDE])


def made_up(count: int) -> Iterator[Tile]:
    """Synthetic tiles with edges, shading, texture and noise."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / 64
    for seed in range(count):
        random = np.random.default_rng(seed)
        tile = 40 * np.sin(x * random.uniform(1, 8) + y * random.uniform(1, 8))[..., None]
        tile = tile + 60 * (x * random.uniform(0.5, 2) > y)[..., None] * random.uniform(-1, 1, 3)
        tile = tile + random.normal(0, random.uniform(0, 4), (SIDE, SIDE, 3))
        yield np.clip(128 + tile, 0, 255).astype(np.uint8)


def cpu_seconds(work: Callable[[Tile], object], tiles: list[Tile]) -> float:
    """Mean CPU seconds per tile in one pass over the tiles."""
    start = time.process_time()
    for tile in tiles:
        work(tile)
    return (time.process_time() - start) / len(tiles)


def speed(tiles: list[Tile], rounds: int, out: Path | None) -> int:
    """Print both sides and their ratios; returns 1 if a ratio is too low."""
    coded = {id(tile): _png(tile) for tile in tiles}

    def decoded(work: Callable[[Tile], object]) -> Callable[[Tile], object]:
        return lambda tile: work(np.asarray(Image.open(io.BytesIO(coded[id(tile)])).convert("RGB")))

    pairs = {
        SCORES: (stage1_metrics, score_image),
        DECODED: (decoded(stage1_metrics), decoded(score_image)),
        ROW: (decoded(stage1_metrics), decoded(lambda tile: measured("", (0, 0), tile, {}))),
    }
    found: dict[str, dict[str, Any]] = {}
    print(f"{len(tiles)} tiles of {SIDE} x {SIDE}, {rounds} rounds, CPU time of one core")
    for title, sides in pairs.items():
        # The first round is warm-up.
        times = np.array([[cpu_seconds(work, tiles) * 1e3 for work in sides] for _ in range(rounds + 1)][1:])
        ratios = times[:, 0] / times[:, 1]
        theirs, ours = np.median(times, axis=0).tolist()
        low, ratio, high = np.quantile(ratios, [0, 0.5, 1]).tolist()
        found[title] = {
            "earlier_ms": round(theirs, 2),
            "ours_ms": round(ours, 2),
            "ratio": round(ratio, 2),
            "ratios_of_rounds": np.round(ratios, 2).tolist(),
            "wanted": WANTED.get(title),
        }
        wanted = f", wanted {WANTED[title]}" if title in WANTED else ""
        print(f"    {title:36} {theirs:6.2f} ms -> {ours:5.2f} ms: {ratio:.2f}x ({low:.2f} to {high:.2f}{wanted})")
    if out is not None:
        out.write_text(json.dumps({"tiles": len(tiles), "side": SIDE, "rounds": rounds, **found}, indent=2) + "\n")
    return int(any(found[title]["ratio"] < wanted for title, wanted in WANTED.items()))


def calibrate(folders: list[Path]) -> int:
    """Print the distribution of complexity and the constants that fit it."""
    found = {folder.name: [score_image(tile) for tile in tiles_of(folder)] for folder in folders}
    found["all"] = [scores for rows in found.values() for scores in rows]
    found["all that pass stage 1"] = [scores for scores in found["all"] if _passes(scores)]
    print(f"{'complexity of':22} tiles    min    P10 median   mean    P90    max  >= 0.5")
    for name, rows in found.items():
        if rows:
            values = np.array([scores["complexity"] for scores in rows])
            low, tenth, middle, ninetieth, high = np.quantile(values, [0, 0.1, 0.5, 0.9, 1])
            values = "  ".join(f"{value:.3f}" for value in (low, tenth, middle, values.mean(), ninetieth, high))
            print(f"{name:22} {len(values):5}  {values}  {np.mean(values >= 0.5):6.0%}")
    middle, top = np.quantile([_raw(scores["complexity"]) for scores in found["all"]], [0.5, 0.9])
    # 1 - 2^-(raw / half)^power is MEDIAN at `middle` and TOP at `top`.
    power = math.log(math.log2(1 - TOP) / math.log2(1 - MEDIAN)) / math.log(top / middle)
    half = middle / (-math.log2(1 - MEDIAN)) ** (1 / power)
    print(f"fit: _HALF, _POWER = {half:.3f}, {power:.3f} (in use {complexity._HALF}, {complexity._POWER})")
    return 0


def _raw(value: float) -> float:
    """Inverse of `complexity`."""
    return complexity._HALF * (-math.log2(1 - value)) ** (1 / complexity._POWER)


def _passes(scores: dict[str, float]) -> bool:
    """Whether a tile passes the filters of the published pool (apart from blockiness, aliasing and BRISQUE)."""
    return scores["entropy"] >= 5 and scores["contrast"] >= 15 and 50 <= scores["sharpness"] <= 3000


def _png(tile: Tile) -> bytes:
    content = io.BytesIO()
    Image.fromarray(tile).save(content, "PNG")
    return content.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--tiles", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="file for the values")
    given = parser.parse_args()
    if given.calibrate:
        if not given.folders:
            parser.error("--calibrate needs folders of photographs")
        return calibrate(given.folders)
    found = [tile for folder in given.folders for tile in tiles_of(folder)] or list(made_up(given.tiles))
    even = np.linspace(0, len(found) - 1, min(given.tiles, len(found))).round().astype(int).tolist()
    return speed([found[i] for i in even], given.rounds, given.json)


if __name__ == "__main__":
    raise SystemExit(main())
