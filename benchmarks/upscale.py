"""Speed and peak memory of `paragonsr upscale` against a plain loop of spandrel, PyTorch and Pillow, same weights.

Each side is a process of its own and does the same folder of PNG files. The sides take turns, so that the machine's
mood hits both; ratios are formed within a turn, and their median counts. Megapixels per second are of the SR images,
from the moment the weights are loaded (importing takes both sides seconds that say nothing about either) until the last
file is written. Memory is the largest resident set of the process. The files of both sides are compared: they may
differ by one 8-bit step.

    python benchmarks/upscale.py WEIGHTS... [--photos DIR] [--turns 3] [--sides 64 256 ...] [--json FILE]

Fails where ours is not at least as fast as the loop at every size, and 1.5 times as fast on the folder of small images.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

SIDES = {64: 100, 256: 12, 512: 4, 1024: 2, 2048: 1}
"""Side of the square LR images -> how many of them."""
SMALL = 500
"""Images of the folder of small ones: each side between 64 and 128, multiples of 16 as tiles and thumbnails have."""
AT_LEAST = {"one size": 1.0, "small images": 1.5}
LOOP = Path(__file__).parent / "reference" / "plain_loop.py"

MEASURE = """
import resource, subprocess, sys
failed = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(failed)
"""  # a process of its own between: what a process peaks at is counted from what its parent held

Crop = Callable[[int, int], np.ndarray]


def crops(photos: Path | None) -> Crop:
    """Crops of a photograph (repeated where it is too small), or of smoothed noise where there is none."""
    random = np.random.default_rng(0)
    if photos is None:
        noise = torch.from_numpy(random.random((1, 3, 257, 257), dtype=np.float32))
        smooth = torch.nn.functional.interpolate(noise, size=(2048, 2048), mode="bicubic")[0].permute(1, 2, 0)
        grain = random.normal(0, 0.01, smooth.shape)
        whole = (smooth.numpy() + grain).clip(0, 1) * 255
        pixels = whole.astype(np.uint8)
    else:
        largest = max((file for file in photos.iterdir() if file.is_file()), key=lambda file: file.stat().st_size)
        pixels = np.asarray(Image.open(largest).convert("RGB"))

    def crop(height: int, width: int) -> np.ndarray:
        times = [-(-side // length) for side, length in zip((height, width), pixels.shape, strict=False)]
        area = np.tile(pixels, (*times, 1))
        top, left = (
            random.integers(0, have - want + 1) for have, want in zip(area.shape, (height, width), strict=False)
        )
        return area[top : top + height, left : left + width]

    return crop


def write(folder: Path, shapes: Sequence[tuple[int, int]], crop: Crop) -> None:
    """PNG files of these heights and widths."""
    folder.mkdir()
    for index, (height, width) in enumerate(shapes):
        Image.fromarray(crop(height, width)).save(folder / f"{index:03}.png")


def timed(arguments: Sequence[str | Path]) -> tuple[float, float]:
    """MP/s and peak memory in MiB of a process that ends by saying `12.3 MP in 4.5 s`."""
    free = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", MEASURE, *map(str, arguments)]
    child = subprocess.run(command, env=free, capture_output=True, text=True)
    found = re.search(r"([\d.]+) MP in ([\d.]+) s", child.stdout)
    if child.returncode or found is None:
        raise RuntimeError(f"{arguments}: {child.stdout}{child.stderr}")
    return float(found[1]) / float(found[2]), int(child.stdout.split()[-1]) / 1024


def largest_difference(one: Path, other: Path) -> int:
    """Between the images of two folders."""
    return max(
        int(np.abs(np.asarray(Image.open(file)).astype(int) - np.asarray(Image.open(other / file.name))).max())
        for file in sorted(one.iterdir())
    )


def compare(source: Path, weights: Path, turns: int) -> dict[str, Any]:
    """Both sides on one folder, in turns."""
    figures: dict[str, list[tuple[float, float]]] = {"loop": [], "ours": []}
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as place:
            loop, ours = Path(place, "loop"), Path(place, "ours")
            figures["loop"].append(timed([sys.executable, LOOP, source, loop, weights]))
            command = [Path(sys.executable).with_name("paragonsr"), "upscale", source, ours, "--model", weights]
            figures["ours"].append(timed(command))
            difference = largest_difference(loop, ours)
        if difference > 1:
            raise RuntimeError(f"{source.name}: the sides differ by {difference} of 255")
    ratios = [ours[0] / loop[0] for loop, ours in zip(figures["loop"], figures["ours"], strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        **{
            side: {
                "megapixels_per_second": round(statistics.median(speed for speed, _ in runs), 3),
                "peak_mebibytes": round(max(memory for _, memory in runs)),
            }
            for side, runs in figures.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--photos", type=Path, help="folder; its largest file is what is cut up")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--sides", type=int, nargs="*", default=list(SIDES))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    random, crop = np.random.default_rng(0), crops(given.photos)
    results: dict[str, dict[str, Any]] = {}
    slow = []
    with tempfile.TemporaryDirectory() as place:
        cases = {f"{side} x {side}": [(side, side)] * SIDES.get(side, 1) for side in given.sides}
        cases["small images"] = [tuple(16 * random.integers(4, 9, 2)) for _ in range(SMALL)]
        for case, shapes in cases.items():
            write(Path(place, case), shapes, crop)
        for weights in given.weights:
            for case in cases:
                found = compare(Path(place, case), weights, given.turns)
                results.setdefault(weights.stem, {})[case] = found
                loop, ours = found["loop"], found["ours"]
                print(
                    f"{weights.stem}  {case:14}  {found['ratio']:5.2f} times  "
                    f"{loop['megapixels_per_second']:7.3f} -> {ours['megapixels_per_second']:7.3f} MP/s  "
                    f"{loop['peak_mebibytes']:5} -> {ours['peak_mebibytes']:5} MiB",
                    flush=True,
                )
                if found["ratio"] < AT_LEAST.get(case, AT_LEAST["one size"]):
                    slow.append(f"{weights.stem}, {case}")
                if given.json is not None:
                    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__, "turns": given.turns}
                    given.json.write_text(json.dumps({"machine": machine, "networks": results}, indent=2) + "\n")
    if slow:
        sys.exit(f"too slow: {'; '.join(slow)}")


if __name__ == "__main__":
    main()
