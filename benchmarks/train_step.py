"""Time of a training step: the batched attention against the loop over overlapping windows.

Nano and S with their published options (attention on, window 32), so that both sides do the same work with the same
weights: forward, L1 + structural loss, backward, AdamW. The two sides alternate, so that the machine's mood hits both;
medians are reported. Writes a table and, with --json, a file.

    python benchmarks/train_step.py [--repeats 9] [--threads N] [--json FILE]
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable

import torch
from reference.loop_attention import use_loops
from torch import Tensor, nn

from paragonsr.archs.options import NETWORKS

CASES = {"paragonsr2_nano": (8, 4.0), "paragonsr2_s": (2, 3.0)}
"""Batch, and how many times faster the step must be than the reference."""
SIDE = 64
"""Side of the LR patch."""


def objective() -> Callable[[Tensor, Tensor], Tensor]:
    """L1 + 0.05 (1 - MS-SSIM), as in the two ULTRA_FIDELITY configurations."""
    from pydantic import TypeAdapter

    from paragonsr.losses.options import LossChoice

    adapter = TypeAdapter(LossChoice)
    terms = [
        adapter.validate_python({"type": name, "loss_weight": weight})
        for name, weight in (("l1loss", 1.0), ("mssimloss", 0.05))
    ]
    losses = [(term.loss_weight, term.build()) for term in terms]
    return lambda sr, hr: sum((weight * loss(sr, hr) for weight, loss in losses), sr.new_zeros(()))


def stepper(network: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], lr: Tensor, hr: Tensor) -> Callable[[], None]:
    """One training step of `network`, ready to be called."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-4, fused=True)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss(network(lr), hr).backward()
        optimiser.step()

    return step


def measure(name: str, batch: int, repeats: int) -> dict[str, float]:
    """Median seconds per step of both sides."""
    torch.manual_seed(0)
    network = NETWORKS[name].published().build(scale=2)
    reference = use_loops(copy.deepcopy(network))
    lr, hr = torch.rand(batch, 3, SIDE, SIDE), torch.rand(batch, 3, 2 * SIDE, 2 * SIDE)
    sides = {"ours": stepper(network, objective(), lr, hr), "reference": stepper(reference, objective(), lr, hr)}
    times: dict[str, list[float]] = {side: [] for side in sides}
    for repeat in range(repeats + 1):
        for side, step in sides.items():
            start = time.perf_counter()
            step()
            if repeat:  # the first is warm-up
                times[side].append(time.perf_counter() - start)
    return {side: statistics.median(values) for side, values in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    rows = []
    print(f"{'network':16} {'batch':>5} {'reference ms':>13} {'ours ms':>8} {'ratio':>6} {'wanted':>6}")
    for name, (batch, wanted) in CASES.items():
        seconds = measure(name, batch, arguments.repeats)
        ratio = seconds["reference"] / seconds["ours"]
        rows.append({"network": name, "batch": batch, "lr_side": SIDE, **seconds, "ratio": ratio, "wanted": wanted})
        print(
            f"{name:16} {batch:5} {seconds['reference'] * 1e3:13.1f} {seconds['ours'] * 1e3:8.1f} {ratio:6.2f} {wanted:6}"
        )
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"torch": torch.__version__, "threads": arguments.threads, "rows": rows}, file, indent=2)
    return 0 if all(row["ratio"] >= row["wanted"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
