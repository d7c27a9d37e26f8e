"""Speed and peak memory of `paragonsr upscale` compared with a plain spandrel loop with the same weights.

Both sides process the same folder of PNG files, taking turns, round after round. Each round is a new process, forked
from one that has only imported what the side needs, so that rounds are short and at least one of them runs at a quiet
moment of a busy machine. The fastest round of each side counts. In addition, the CPU seconds of its cheapest round are
given, which hardly depend on other load. Megapixels per second refer to the SR images; both kinds of seconds are
measured from when the weights are loaded until the last file is written. Memory is the peak resident set of the
process. The files of both sides are compared: they may differ by one 8-bit step.

    python benchmarks/upscale.py WEIGHTS... [--photos DIR] [--threads N] [--seconds 60] [--sides 64 256 ...]
        [--json FILE]

Use `--threads 1` on a busy machine: threads that wait for each other while other processes use the CPU slow the loop
down tenfold, which makes the result meaningless.

Fails if ours is not at least as fast as the loop at every size, and 1.5 times as fast on the folder of small images.
"""

import argparse
import json
import logging
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

SIDES = {64: 48, 256: 8, 512: 2, 1024: 1, 2048: 1}
"""Side of the square LR images -> their number."""
SMALL = 200
"""Number of images in the folder of small ones, with sides from 64 to 128, multiples of 16 like tiles or thumbnails."""
AT_LEAST = {"one size": 1.0, "small images": 1.5}
ROUNDS = 2
"""Minimum number of rounds of each side, however long they take."""

Crop = Callable[[int, int], np.ndarray]
Run = Callable[[Path, Path, Path], Callable[[], float]]
"""Takes source, out and weights; loads the weights and returns a function that upscales the folder and returns the
megapixels."""
Make = Callable[[], Run]


def crops(photos: Path | None) -> Crop:
    """Make crops of a photograph (repeated if it is too small), or of smoothed noise without photographs."""
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
    """Write PNG files of these heights and widths."""
    folder.mkdir()
    for index, (height, width) in enumerate(shapes):
        Image.fromarray(crop(height, width)).save(folder / f"{index:03}.png")


def loop() -> Run:
    """Side of the plain loop; imports what it needs."""
    sys.path.insert(0, str(Path(__file__).parent / "reference"))
    import plain_loop

    def run(source: Path, out: Path, weights: Path) -> Callable[[], float]:
        model = plain_loop.load(weights)
        return lambda: plain_loop.upscale(model, source, out)

    return run


def ours() -> Run:
    """Side of `paragonsr upscale`: what the command calls, with its defaults."""
    from paragonsr.inference.folder import plan, upscale_files
    from paragonsr.inference.model import load

    def run(source: Path, out: Path, weights: Path) -> Callable[[], float]:
        upscaler = load(weights, device="cpu")
        return lambda: upscale_files(upscaler, plan(source, out)).megapixels

    return run


def serve(side: Make, pipe: Connection, threads: int) -> None:
    """Process folders, each in its own process; reports MP/s, CPU seconds and peak memory in MiB."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(threads)
    run = side()
    while (given := pipe.recv()) is not None:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            folder = run(*given)
            begun, used = time.perf_counter(), time.process_time()
            megapixels = folder()
            values = megapixels / (time.perf_counter() - begun), time.process_time() - used
            os.write(writing, json.dumps(values).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            said = answer.read()
        _, status, usage = os.wait4(child, 0)
        pipe.send(None if status or not said else (*json.loads(said), usage.ru_maxrss / 1024))


class Side:
    """One side, kept ready, with the results of its rounds."""

    def __init__(self, make: Make, threads: int) -> None:
        self.name = make.__name__
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(make, theirs, threads), daemon=True)
        self._process.start()
        self.rounds: list[tuple[float, float, float]] = []

    def round(self, source: Path, out: Path, weights: Path) -> None:
        """Run one more round."""
        shutil.rmtree(out, ignore_errors=True)
        self._pipe.send((source, out, weights))
        values = self._pipe.recv()
        if values is None:
            raise RuntimeError(f"{self.name} failed on {source.name}")
        self.rounds.append(values)

    def end(self) -> None:
        """Stop the process of this side."""
        self._pipe.send(None)
        self._process.join()

    def values(self) -> dict[str, Any]:
        """Fastest speed, least CPU seconds and largest memory of the rounds since the last call."""
        speeds, seconds, memory = zip(*self.rounds, strict=True)
        self.rounds = []
        return {
            "megapixels_per_second": round(max(speeds), 3),
            "cpu_seconds": round(min(seconds), 3),
            "peak_mebibytes": round(max(memory)),
            "rounds": len(speeds),
        }


def largest_difference(one: Path, other: Path) -> int:
    """Largest difference between the images of two folders."""
    return max(
        int(np.abs(np.asarray(Image.open(file)).astype(int) - np.asarray(Image.open(other / file.name))).max())
        for file in sorted(one.iterdir())
    )


def compare(sides: Sequence[Side], source: Path, weights: Path, seconds: float) -> dict[str, Any]:
    """Run both sides on one folder, taking turns, for a number of seconds."""
    plain, own = sides
    end, rounds = time.monotonic() + seconds, 0
    with tempfile.TemporaryDirectory() as place:
        while rounds < ROUNDS or time.monotonic() < end:
            for side in sides if rounds % 2 else reversed(sides):
                side.round(source, Path(place, side.name), weights)
            rounds += 1
        difference = largest_difference(Path(place, plain.name), Path(place, own.name))
    if difference > 1:
        raise RuntimeError(f"{source.name}: the sides differ by {difference} of 255")
    values = {side.name: side.values() for side in sides}
    loop, ours = values[plain.name], values[own.name]
    return {
        "ratio": round(ours["megapixels_per_second"] / loop["megapixels_per_second"], 2),
        "cpu_ratio": round(loop["cpu_seconds"] / ours["cpu_seconds"], 2),
        **values,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--photos", type=Path, help="folder whose largest file is cut into images")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=60, help="duration per network and folder")
    parser.add_argument("--sides", type=int, nargs="*", default=list(SIDES))
    parser.add_argument("--json", type=Path, help="results file; entries of other networks and sizes are kept")
    given = parser.parse_args()
    random, crop = np.random.default_rng(0), crops(given.photos)
    results: dict[str, dict[str, Any]] = {}
    if given.json is not None and given.json.is_file():
        results = json.loads(given.json.read_text())["networks"]
    slow = []
    sides = [Side(make, given.threads) for make in (loop, ours)]
    with tempfile.TemporaryDirectory() as place:
        cases = {f"{side} x {side}": [(side, side)] * SIDES.get(side, 1) for side in given.sides}
        cases["small images"] = [tuple(16 * random.integers(4, 9, 2)) for _ in range(SMALL)]
        for case, shapes in cases.items():
            write(Path(place, case), shapes, crop)
        for weights in given.weights:
            for case in cases:
                found = compare(sides, Path(place, case), weights, given.seconds)
                results.setdefault(weights.stem, {})[case] = found
                plain, own = found["loop"], found["ours"]
                print(
                    f"{weights.stem}  {case:14}  {found['ratio']:5.2f} times  "
                    f"{plain['megapixels_per_second']:7.3f} -> {own['megapixels_per_second']:7.3f} MP/s  "
                    f"{plain['cpu_seconds']:7.3f} -> {own['cpu_seconds']:7.3f} CPU s  "
                    f"{plain['peak_mebibytes']:5} -> {own['peak_mebibytes']:5} MiB  {own['rounds']} rounds",
                    flush=True,
                )
                if found["ratio"] < AT_LEAST.get(case, AT_LEAST["one size"]):
                    slow.append(f"{weights.stem}, {case}")
                if given.json is not None:
                    device_context = {
                        "threads": given.threads,
                        "torch": torch.__version__,
                        "cpu": platform.device_context(),
                    }
                    given.json.write_text(json.dumps({"machine": device_context, "networks": results}, indent=2) + "\n")
    for side in sides:
        side.end()
    if slow:
        sys.exit(f"too slow: {'; '.join(slow)}")


if __name__ == "__main__":
    main()
