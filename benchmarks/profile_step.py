"""Where the time of a training step goes: share of each kind of operation, one thread of a CPU.

python -m benchmarks.profile_step [--steps 20]

The steps are those of `benchmarks.table`: a nano with L1, and with L1 + MS-SSIM.
"""

import argparse
from collections import defaultdict

import torch
from benchmarks.table import nano_step

KINDS = {
    "convolutions, backward": ("convolution_backward",),
    "convolutions, forward": ("mkldnn_convolution", "_convolution", "conv2d", "convolution"),
    "optimiser": ("adamw", "Optimizer"),
    "clipping and norms": ("foreach_norm", "linalg_vector_norm", "clip"),
    "pooling": ("avg_pool",),
    "copies and layouts": ("copy_", "contiguous", "clone", "to"),
}
"""Kind -> beginnings of the names of its operations, without "aten::"; the first that fits counts."""


def shares(batch: int, side: int, structural: float, steps: int) -> tuple[float, dict[str, float]]:
    """Milliseconds of a step, and the share of each kind."""
    step, _, _ = nano_step(batch, side, structural)
    for _ in range(3):
        step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(steps):
            step()
    spent: dict[str, float] = defaultdict(float)
    for event in profile.key_averages():
        name = event.key.removeprefix("aten::").removeprefix("_fused_").lstrip("_")
        fits = (kind for kind, names in KINDS.items() if any(name.startswith(n.lstrip("_")) for n in names))
        spent[next(fits, "all others, pointwise most of all")] += event.self_cpu_time_total
    total = sum(spent.values())
    return total / steps / 1000, {kind: value / total for kind, value in spent.items()}


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name, batch, side, structural in (("L1", 16, 32, 0.0), ("L1 + MS-SSIM", 4, 96, 0.05)):
        milliseconds, found = shares(batch, side, structural, given.steps)
        print(f"nano, {batch} x {side} x {side}, {name}: {milliseconds:.1f} ms a step, profiled")
        for kind, share in sorted(found.items(), key=lambda item: -item[1]):
            print(f"    {kind:36}{share:6.1%}")


if __name__ == "__main__":
    main()
