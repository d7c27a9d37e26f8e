"""Time and memory of opening a packed set, by the number of its images; each open in a process of its own.

python -m benchmarks.opening WORK [COUNT...]

WORK receives folders of COUNT empty files (100 000 and 1 000 000 unless told) and stores of as many images of 2 x 2
pixels, which are made once: the opening looks at names, sizes and times, and not into the images. Printed are CPU
seconds and the growth of the peak of resident memory (Linux), without the imports: the start that walks over the
folders and writes the listing, the starts after it, and the look at all files that runs beside the training.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from paragonsr.data.findings import Look
from paragonsr.data.index import StoreIndex
from paragonsr.data.listing import Files
from paragonsr.data.options import SingleOptions
from paragonsr.data.recipe import Recipe

COUNTS = (100_000, 1_000_000)
A_FOLDER = 10_000
"""Files in each folder."""
OLD = time.time_ns() - 10**12

OPEN = """
import sys, time
from paragonsr.data.options import SingleOptions
from paragonsr.data.packed import open_packed
def peak():  # of the resident memory, MiB (Linux)
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
before, begun = peak(), time.process_time()
store = open_packed(SingleOptions(dataroot_gt=sys.argv[1], store_root=sys.argv[2]), 2, "train")
opened = time.process_time() - begun
memory = peak() - before
begun = time.process_time()
store.hr(len(store) - 1)
looked = ""
if store.listing:
    assert not store.listing.changed()
    looked = f", look at all files {time.process_time() - begun:.2f} s"
print(f"{opened:.2f} s, {memory:.0f} MiB{looked}")
"""


def main() -> None:
    """Make what is missing, and print the table."""
    work = Path(sys.argv[1])
    for count in map(int, sys.argv[2:]) if sys.argv[2:] else COUNTS:
        photos, cache = work / f"{count}", work / f"cache_{count}"
        if not cache.exists():
            _make(photos, cache, count)
        for name in ("first start", "second start", "third start"):
            done = subprocess.run(
                [sys.executable, "-c", OPEN, photos, cache], capture_output=True, text=True, check=True
            )
            print(f"{count:>9} images, {name}: {done.stdout.strip()}", flush=True)


def _make(photos: Path, cache: Path, count: int) -> None:
    """Empty files, and the store that they would have."""
    for first in range(0, count, A_FOLDER):
        folder = photos / f"{first // A_FOLDER:04}"
        folder.mkdir(parents=True)
        for number in range(first, min(first + A_FOLDER, count)):
            (folder / f"photo_{number:07}.png").touch()
        os.utime(folder, ns=(OLD, OLD))
    os.utime(photos, ns=(OLD, OLD))
    options = SingleOptions(dataroot_gt=str(photos), store_root=str(cache))
    recipe = Recipe.of(options, 2, "train")
    files = Files.found(options, "train")
    store = cache / files.key(recipe)
    store.mkdir(parents=True)
    for name, side in (("hr.bin", 4), ("lr.bin", 2)):
        (store / name).write_bytes(bytes(3 * side * side * count))
    shapes = np.full((count, 2), 2, np.int32)
    digests = [f"{number:032x}" for number in range(count)]
    looks = [Look(bytes.fromhex(digest), False, None) for digest in digests]
    StoreIndex.of(2, True, [pair.name for pair in files.pairs], shapes, digests, looks).write(store)


if __name__ == "__main__":
    main()
