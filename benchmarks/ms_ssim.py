"""Time of MS-SSIM as a loss, forward and backward: ours compared with pytorch-msssim.

8 x 3 x 256 x 256 float32, both contiguous and in channels_last, which is the layout of network outputs in training.
Both sides take turns, call by call, so that load on the machine affects both; medians are compared.

    python benchmarks/ms_ssim.py [--repeats 15] [--threads N] [--json FILE]

Fails if ours is not WANTED times as fast as pytorch-msssim in the same layout, or if the values differ by more than
ALLOWED.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from pytorch_msssim import ms_ssim
from torch import Tensor
from torch.nn import functional as F

from paragonsr.losses.options import MSSSIMLossOptions

WANTED, ALLOWED = 2.0, 1e-5
SHAPE = (8, 3, 256, 256)
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
NOISES = (0.002, 0.01, 0.05, 0.2)
"""Standard deviations of noise at which the values are compared; the third is timed."""

Loss = Callable[[Tensor, Tensor], Tensor]


def images(noise: float) -> tuple[Tensor, Tensor]:
    """SR and HR: a smooth random image with and without noise."""
    torch.manual_seed(0)
    hr = F.avg_pool2d(torch.rand(SHAPE), 5, 1, 2)
    return hr + noise * torch.randn(SHAPE), hr


def seconds(loss: Loss, sr: Tensor, hr: Tensor) -> float:
    """Time of one forward and backward pass."""
    leaf = sr.detach().requires_grad_()
    start = time.perf_counter()
    torch.autograd.grad(loss(leaf, hr), leaf)
    return time.perf_counter() - start


def measure(sides: dict[str, Loss], layout: torch.memory_format, repeats: int) -> dict[str, float]:
    """Median seconds of each side."""
    sr, hr = (image.contiguous(memory_format=layout) for image in images(NOISES[2]))
    times: dict[str, list[float]] = {side: [] for side in sides}
    for repeat in range(repeats + 2):
        for side, loss in sides.items():
            taken = seconds(loss, sr, hr)
            if repeat >= 2:  # the first ones are warm-up
                times[side].append(taken)
    return {side: statistics.median(values) for side, values in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    sides: dict[str, Loss] = {
        "pytorch-msssim": lambda sr, hr: 1 - ms_ssim(sr, hr, data_range=1.0),
        "ours": MSSSIMLossOptions().build(),
    }
    theirs, ours = sides.values()
    difference = max(abs(theirs(*images(noise)) - ours(*images(noise))).item() for noise in NOISES)
    rows = []
    print(f"MS-SSIM forward + backward, {' x '.join(map(str, SHAPE))} float32, {arguments.threads} threads")
    for name, layout in LAYOUTS.items():
        taken = measure(sides, layout, arguments.repeats)
        ratio = taken["pytorch-msssim"] / taken["ours"]
        values = ", ".join(f"{side} {value * 1e3:.1f} ms" for side, value in taken.items())
        print(f"    {name:14} {values}: {ratio:.2f}x (wanted {WANTED}x)")
        rows.append({"layout": name, "seconds": taken, "ratio": ratio})
    print(f"    largest difference of the values {difference:.1e} (allowed {ALLOWED:.0e})")
    if arguments.json:
        report = {"torch": torch.__version__, "threads": arguments.threads, "difference": difference, "rows": rows}
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)
    return int(difference > ALLOWED or any(row["ratio"] < WANTED for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
