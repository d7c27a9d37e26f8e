"""Speed and peak memory of `paragonsr upscale` against a plain loop of spandrel, PyTorch and Pillow, same weights.

Both sides do the same folder of PNG files, in turns, round after round. Each round is a fresh process: forked from one
that has imported what the side needs and computed nothing, so that rounds are short enough for one of them to meet a
quiet moment of a busy machine. Of each side its fastest round counts. Beside it stand the CPU seconds of its cheapest
round, which hardly depend on what else the machine does. Megapixels per second are of the SR images; both kinds of
seconds go from the moment the weights are loaded until the last file is written. Memory is the largest resident set of
the process. The files of both sides are compared: they may differ by one 8-bit step.

    python benchmarks/upscale.py WEIGHTS... [--photos DIR] [--threads N] [--seconds 60] [--sides 64 256 ...]
        [--json FILE]

`--threads 1` on a machine that does other things: threads that wait for each other while others have the processor cost
the loop ten times its time, and say nothing.

Fails where ours is not at least as fast as the loop at every size, and 1.5 times as fast on the folder of small images.
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
"""Side of the square LR images -> how many of them."""
SMALL = 200
"""Images of the folder of small ones: each side between 64 and 128, multiples of 16 as tiles and thumbnails have."""
AT_LEAST = {"one size": 1.0, "small images": 1.5}
ROUNDS = 2
"""Of each side at least, however long they take."""

Crop = Callable[[int, int], np.ndarray]
Run = Callable[[Path, Path, Path], Callable[[], float]]
"""Loads weights, and gives what upscales a folder into a new one and tells the megapixels: source, out, weights."""
Make = Callable[[], Run]


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


def loop() -> Run:
    """The side of the plain loop; imports what it needs."""
    sys.path.insert(0, str(Path(__file__).parent / "reference"))
    import plain_loop

    def run(source: Path, out: Path, weights: Path) -> Callable[[], float]:
        model = plain_loop.load(weights)
        return lambda: plain_loop.upscale(model, source, out)

    return run


def ours() -> Run:
    """The side of `paragonsr upscale`: what the command calls, with its defaults."""
    from paragonsr.inference.folder import plan, upscale_files
    from paragonsr.inference.model import load

    def run(source: Path, out: Path, weights: Path) -> Callable[[], float]:
        upscaler = load(weights, device="cpu")
        return lambda: upscale_files(upscaler, plan(source, out)).megapixels

    return run


def serve(side: Make, pipe: Connection, threads: int) -> None:
    """Do one folder after the other, each in a process of its own; tell MP/s, CPU seconds and peak memory in MiB."""
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
    """One of the two, kept ready, and what its rounds took."""

    def __init__(self, make: Make, threads: int) -> None:
        self.name = make.__name__
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(make, theirs, threads), daemon=True)
        self._process.start()
        self.rounds: list[tuple[float, float, float]] = []

    def round(self, source: Path, out: Path, weights: Path) -> None:
        """One more."""
        shutil.rmtree(out, ignore_errors=True)
        self._pipe.send((source, out, weights))
        values = self._pipe.recv()
        if values is None:
            raise RuntimeError(f"{self.name} failed on {source.name}")
        self.rounds.append(values)

    def end(self) -> None:
        """No more rounds."""
        self._pipe.send(None)
        self._process.join()

    def values(self) -> dict[str, Any]:
        """Of the rounds since the last call: the fastest one's speed, the least CPU seconds, the most memory."""
        speeds, seconds, memory = zip(*self.rounds, strict=True)
        self.rounds = []
        return {
            "megapixels_per_second": round(max(speeds), 3),
            "cpu_seconds": round(min(seconds), 3),
            "peak_mebibytes": round(max(memory)),
            "rounds": len(speeds),
        }


def largest_difference(one: Path, other: Path) -> int:
    """Between the images of two folders."""
    return max(
        int(np.abs(np.asarray(Image.open(file)).astype(int) - np.asarray(Image.open(other / file.name))).max())
        for file in sorted(one.iterdir())
    )


def compare(sides: Sequence[Side], source: Path, weights: Path, seconds: float) -> dict[str, Any]:
    """Both sides on one folder, in turns, for so many seconds."""
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
    parser.add_argument("--photos", type=Path, help="folder; its largest file is what is cut up")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=60, help="for each network and folder")
    parser.add_argument("--sides", type=int, nargs="*", default=list(SIDES))
    parser.add_argument("--json", type=Path, help="what it holds of other networks and sizes stays")
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
