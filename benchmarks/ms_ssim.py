"""Time of the MS-SSIM loss, forward and backward, beside pytorch-msssim's; both take turns, medians are compared.

    python benchmarks/ms_ssim.py [--repeats 9] [--threads N] [--json FILE]

Fails where ours is not at least twice as fast at 8 x 3 x 256 x 256.
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

SHAPES = ((8, 3, 256, 256), (32, 3, 256, 256), (8, 3, 192, 192))
WANTED = 2.0
"""Times faster at the first shape."""


def timed(loss: Callable[[Tensor], Tensor], sr: Tensor) -> tuple[float, float, Tensor]:
    """Seconds of forward and backward, value, gradient."""
    leaf = sr.clone().requires_grad_()
    began = time.perf_counter()
    value = loss(leaf)
    (gradient,) = torch.autograd.grad(value, leaf)
    return time.perf_counter() - began, value.item(), gradient


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    ours = MSSSIMLossOptions().build()
    rows = []
    for shape in SHAPES:
        torch.manual_seed(0)
        hr = F.avg_pool2d(torch.rand(shape), 5, 1, 2)
        sr = hr + 0.05 * torch.randn(shape)
        sides: dict[str, Callable[[Tensor], Tensor]] = {
            "pytorch-msssim": lambda x, hr=hr: 1 - ms_ssim(x, hr, data_range=1.0),
            "ours": lambda x, hr=hr: ours(x, hr),
        }
        times: dict[str, list[float]] = {side: [] for side in sides}
        found = {}
        for repeat in range(arguments.repeats + 1):
            for side, loss in sides.items():
                seconds, *found[side] = timed(loss, sr)
                if repeat:  # the first is warm-up
                    times[side].append(seconds)
        seconds_of = {side: statistics.median(values) for side, values in times.items()}
        ratio = seconds_of["pytorch-msssim"] / seconds_of["ours"]
        (value, gradient), (reference, expected) = found["ours"], found["pytorch-msssim"]
        difference = float((gradient - expected).norm() / expected.norm())
        print(
            f"{' x '.join(map(str, shape))}: pytorch-msssim {seconds_of['pytorch-msssim'] * 1e3:.0f} ms, "
            f"ours {seconds_of['ours'] * 1e3:.0f} ms, {ratio:.2f}x as fast; "
            f"value differs by {abs(value - reference):.1e}, gradient by {difference:.1e}"
        )
        rows.append({"shape": shape, "seconds": seconds_of, "ratio": ratio, "gradient_difference": difference})
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"torch": torch.__version__, "threads": arguments.threads, "rows": rows}, file, indent=2)
    return int(rows[0]["ratio"] < WANTED)


if __name__ == "__main__":
    raise SystemExit(main())
