"""Samples per second and core of the two stages of Real-ESRGAN: ours compared with NumPy and OpenCV.

Both sides take turns on the same HR patches, and CPU time is counted, so that load on the machine affects both; medians
of the turns are compared. Needs the extra `bench`.

    python -m benchmarks.degradation [PHOTO ...] [--side 256] [--scale 4] [--samples 40] [--turns 9] [--profile]
                                     [--on cpu]

--on compares ours with itself instead, with blur, resize and noise as tensors on a device; CPU time is counted, too.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from benchmarks.reference import real_esrgan

from paragonsr.data.images import read_image
from paragonsr.degradation.base import Degradation
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.realesrgan import RealESRGANOptions
from paragonsr.degradation.step import Target, run, to_planes

Image = np.ndarray


def patches(photos: list[Path], side: int) -> list[Image]:
    """Centres of photographs; without any, smooth random images."""
    if not photos:
        random = np.random.default_rng(0)
        noise = random.uniform(0, 255, (8, side, side, 3)).astype(np.float32)
        return [np.clip(128 + 8 * (cv2.GaussianBlur(n, (0, 0), 2) - 128), 0, 255).astype(np.uint8) for n in noise]
    images = [read_image(photo) for photo in photos]
    return [
        np.ascontiguousarray(i[(i.shape[0] - side) // 2 :, (i.shape[1] - side) // 2 :][:side, :side]) for i in images
    ]


def seconds(work: Callable[[Image, int], object], images: list[Image], samples: range) -> float:
    """CPU seconds per sample."""
    begin = time.process_time()
    for sample in samples:
        work(images[sample % len(images)], sample)
    return (time.process_time() - begin) / len(samples)


def profile(images: list[Image], scale: int, samples: int) -> None:
    """Print the CPU time of each step of ours, in ms per sample."""
    steps = [step.build() for step in RealESRGANOptions().steps()]
    spent: dict[str, float] = defaultdict(float)
    for sample in range(-20, samples):
        if sample == 0:
            spent.clear()  # what is loaded and tabulated once is not counted
        hr = images[sample % len(images)]
        target = Target(hr.shape[0] // scale, hr.shape[1] // scale, scale)
        planes, draws = to_planes(hr), Draws(0, sample)
        for number, step in enumerate(steps):
            begin = time.process_time()
            planes, _ = run([step], planes, draws.child(number), target)
            spent[f"{number} {step.options.type}"] += time.process_time() - begin
    for name, total in spent.items():
        print(f"{name:12}{1000 * total / samples:8.2f} ms")


def main() -> None:
    """Compare, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--on", type=torch.device, metavar="DEVICE")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    images = patches(given.photos, given.side)
    if given.profile:
        profile(images, given.scale, given.samples)
        return
    ours = RealESRGANOptions().build(scale=given.scale, seed=0)
    assert isinstance(ours, Degradation)

    def reference(hr: Image, sample: int) -> Image:
        return real_esrgan.degrade(hr, given.scale, np.random.default_rng([0, sample]))

    other = reference if given.on is None else ours.on(given.on).degrade
    name = "numpy + opencv" if given.on is None else f"on {given.on}"
    sides: dict[str, Callable[[Image, int], object]] = {name: other, "paragonsr": ours.degrade}
    for work in sides.values():
        seconds(work, images, range(5))
    turns: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(given.turns):
        samples = range(turn * given.samples, (turn + 1) * given.samples)
        for name, work in sides.items():
            turns[name].append(seconds(work, images, samples))
    for name, times in turns.items():
        middle = statistics.median(times)
        best, speed = 1000 * min(times), 1 / middle
        print(f"{name:16}{speed:8.1f} samples/s per core ({1000 * middle:.2f} ms, {best:.2f} at best)")
    ratios = [a / b for a, b in zip(*turns.values(), strict=True)]
    print(f"ratio: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
