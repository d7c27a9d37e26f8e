"""Cost of dynamic_loss_scheduling in a training step.

ParagonSR2 Nano x2, patches and batch of 2xParagonSR2_Nano_CPU_ULTRA_FIDELITY, L1 + 0.05 MS-SSIM, AdamW. Two sides take
turns, step by step, and CPU time counts instead of wall time, so that load on the machine affects both equally:

    summed      plain: one backward pass of the weighted sum
    balanced    each loss differentiated at the SR image, gradient norms, and their weighted sum propagated

The time of the automation for a window of 50 steps, divided by 50, is added to the second.

    python benchmarks/loss_balance_cost.py [--repeats 100] [--json FILE]

Fails if the median of the paired differences, with the automation, is above 3% of a summed step.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from paragonsr.archs.options import NETWORKS
from paragonsr.automation.loss_balance import LossBalance
from paragonsr.automation.options import LossBalanceOptions
from paragonsr.automation.protocol import Steps
from paragonsr.losses.options import L1Options, MSSSIMLossOptions
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.objective import Objective

ALLOWED = 0.03
BATCH, SIDE, WINDOW = 8, 32, 50
Step = Callable[[], None]


def sides() -> dict[str, Step]:
    """Training steps of both sides, on the same images and with the same weights."""
    torch.manual_seed(0)
    lr, hr = torch.rand(BATCH, 3, SIDE, SIDE), torch.rand(BATCH, 3, 2 * SIDE, 2 * SIDE)
    objective = Objective(
        [L1Options(), MSSSIMLossOptions(loss_weight=0.05, scales="auto")], DeviceContext(lr.device, None, True)
    )
    weights = objective.weights(0, {})
    made: dict[str, Step] = {}
    for name in ("summed", "balanced"):
        torch.manual_seed(0)
        network: torch.nn.Module = NETWORKS["paragonsr2_nano"].model_validate({}).build(scale=2)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

        def step(
            name: str = name, network: torch.nn.Module = network, optimiser: torch.optim.AdamW = optimiser
        ) -> None:
            optimiser.zero_grad(set_to_none=True)
            sr = network(lr.to(memory_format=torch.channels_last))
            if name == "balanced":
                gradient = objective.gradient(sr, hr, weights)
                torch.stack([norm.sqrt() for norm in gradient.norms.values()])
                sr.backward(gradient.total)
            else:
                losses = [weights[label] * loss(sr, hr) for label, loss in objective.losses.items()]
                torch.stack(losses).sum().backward()
            optimiser.step()

        made[name] = step
    return made


def automation_seconds(repeats: int) -> float:
    """Median seconds of one flush; every second flush judges the shares and makes decisions."""
    options = LossBalanceOptions(enabled=True, target_shares={"mssim": 0.3}, adaptation_rate=1e-4)
    automation = LossBalance(options, ["l1", "mssim"], 10**6, 100_000)
    random = np.random.default_rng(0)
    times = []
    for number in range(1, repeats + 1):
        values = {"position": np.arange(WINDOW, dtype=float) + number * WINDOW}
        for label, weight in (("l1", 1.0), ("mssim", 0.05)):
            values |= {f"loss_weight/{label}": np.full(WINDOW, weight)}
            values |= {f"loss_grad/{label}": random.uniform(0.5, 1.5, WINDOW)}
        start = time.process_time()
        automation.observe(Steps(number * WINDOW, values))
        times.append(time.process_time() - start)
    return statistics.median(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    steps = sides()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(arguments.repeats + 3):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if repeat >= 3:  # the first ones are warm-up
                times[name].append(time.process_time() - start)
    plain = statistics.median(times["summed"])
    pairs = zip(times["balanced"], times["summed"], strict=True)
    extra = statistics.median(balanced - summed for balanced, summed in pairs)
    flush = automation_seconds(arguments.repeats)
    share = (extra + flush / WINDOW) / plain
    print(f"summed step {plain * 1e3:.2f} ms, norms {extra * 1e3:+.3f} ms")
    print(f"flush {flush * 1e3:.3f} ms every {WINDOW} steps")
    print(f"cost of the balance: {share:+.2%} of a step (allowed {ALLOWED:.0%})")
    if arguments.json:
        values = {"summed_step": plain, "norms": extra, "flush": flush, "share": share}
        arguments.json.write_text(json.dumps({"torch": torch.__version__, "seconds": values}, indent=2) + "\n")
    return int(share > ALLOWED)


if __name__ == "__main__":
    raise SystemExit(main())
