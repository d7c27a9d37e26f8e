"""Time of a training step: batched window attention compared with a Python loop over overlapping windows.

Nano and S with their published structure, attention on, window 32, L1 + MS-SSIM, AdamW. All variants take turns, step
by step, so that load on the machine affects all of them; medians are compared.

    loop, published windows    one window after the other; the published count leaves strips uncovered
    loop, all pixels           the same with enough overlapping windows to cover the image
    batched, published windows the same output as the first, in one batch
    ours                       covers all pixels: the default attention, channels_last
    ours, bf16                 with mixed precision, as in both ULTRA_FIDELITY configurations

    python benchmarks/train_step.py [--repeats 9] [--threads N] [--json FILE]

Fails if, at equal precision, our step is not as many times faster than the loop over all pixels as CASES requires.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable

import torch
from pydantic import TypeAdapter
from reference.loop_attention import use_loops
from torch import Tensor, nn

from paragonsr.archs.options import NETWORKS
from paragonsr.losses.options import LossOptions

CASES = {"paragonsr2_nano": (8, 4.0), "paragonsr2_s": (2, 3.0)}
"""Batch size, and required speed-up over the loop."""
SIDE = 64
"""Side of the LR patch."""
PAIRS = {
    "same output": ("loop, published windows", "batched, published windows"),
    "same coverage": ("loop, all pixels", "ours"),
    "as configured": ("loop, all pixels", "ours, bf16"),
}
"""Name of a ratio -> the two variants."""

Loss = Callable[[Tensor, Tensor], Tensor]


def objective() -> Loss:
    """L1 + 0.05 (1 - MS-SSIM), as in the Nano configuration; four scales, since five do not fit into the patch."""
    adapter = TypeAdapter(LossOptions)
    terms = [
        adapter.validate_python({"type": "l1loss", "loss_weight": 1.0}),
        adapter.validate_python({"type": "mssimloss", "loss_weight": 0.05, "scales": 4}),
    ]
    losses = [(term.loss_weight, term.build()) for term in terms]
    return lambda sr, hr: sum((weight * loss(sr, hr) for weight, loss in losses), sr.new_zeros(()))


def stepper(
    network: nn.Module, loss: Loss, batch: int, *, tuned: bool = False, bf16: bool = False
) -> Callable[[], None]:
    """Training step of `network` on fixed random images; tuned: channels_last, fused AdamW."""
    lr, hr = torch.rand(batch, 3, SIDE, SIDE), torch.rand(batch, 3, 2 * SIDE, 2 * SIDE)
    if tuned:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        lr, hr = (image.contiguous(memory_format=torch.channels_last) for image in (lr, hr))
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-4, fused=tuned)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            sr = network(lr)
        loss(sr.float(), hr).backward()
        optimiser.step()

    return step


def measure(name: str, batch: int, repeats: int) -> dict[str, float]:
    """Median seconds per step of each variant."""
    torch.manual_seed(0)
    published = NETWORKS[name].published().build(scale=2)
    ours = NETWORKS[name].published(attention_windows="shifted", attention_scale="key_width").build(scale=2)
    ours.load_state_dict(published.state_dict())
    loss = objective()
    sides = {
        "loop, published windows": stepper(use_loops(copy.deepcopy(published)), loss, batch),
        "loop, all pixels": stepper(use_loops(copy.deepcopy(published), cover=True), loss, batch),
        "batched, published windows": stepper(published, loss, batch),
        "ours": stepper(copy.deepcopy(ours), loss, batch, tuned=True),
        "ours, bf16": stepper(ours, loss, batch, tuned=True, bf16=True),
    }
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

    rows, failed = [], False
    for name, (batch, wanted) in CASES.items():
        seconds = measure(name, batch, arguments.repeats)
        ratios = {pair: seconds[slow] / seconds[fast] for pair, (slow, fast) in PAIRS.items()}
        print(f"{name}, batch {batch}, LR {SIDE}x{SIDE}, {arguments.threads} threads")
        for side, value in seconds.items():
            print(f"    {side:28} {value * 1e3:8.1f} ms")
        print("    " + ", ".join(f"{pair} {ratio:.2f}x" for pair, ratio in ratios.items()) + f" (wanted {wanted}x)")
        failed |= ratios["same coverage"] < wanted
        rows.append({"network": name, "batch": batch, "seconds": seconds, "ratios": ratios, "wanted": wanted})
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"torch": torch.__version__, "threads": arguments.threads, "rows": rows}, file, indent=2)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
