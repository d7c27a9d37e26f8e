"""What a GPU makes of a training step: time, share of the roofline, compile and CUDA graphs, bf16, batch size.

python -m benchmarks.gpu [--dry] [--turns 9] [--json FILE]

`benchmarks/gpu.sh` calls it. Nano has LR patches of 32 x 128 x 128, S of 12 x 128 x 128, x2, L1 and AdamW. For each:

    step        fp32 and, where the device is fast at it, bf16; eager, compiled, and compiled with CUDA graphs
    roofline    GFLOP/s of the fastest, as a share of a large matrix product of the same precision on this device
    busy        time of a step on images that lie ready / time of a step that takes its batch from the packed store
    batch       samples per second of half, one and two times the batch: what a changing batch size can gain
    degradation samples per second of Real-ESRGAN's degradation in one thread per core, on the CPU alone and with the
                device (degradation_device), and the share of time that the fastest step waits for them

All variants of a network take turns. --dry makes small networks take small steps on any device, to try the code.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from paragonsr.archs.complexity import count_macs
from paragonsr.archs.options import NETWORKS
from paragonsr.data.demo import make_demo_images
from paragonsr.data.images import write_png
from paragonsr.data.options import SingleOptions
from paragonsr.data.packed import open_packed
from paragonsr.data.sampling import Prefetcher, Sampler
from paragonsr.degradation.realesrgan import RealESRGANOptions
from paragonsr.devices import best_device
from paragonsr.inference.precision import has_fast_bf16
from paragonsr.resize import upscale
from paragonsr.timing import clock_for, in_turns
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.step import to_device

SCALE = 2
COMPILED = {"eager": None, "compiled": "default", "CUDA graphs": "reduce-overhead"}
"""Name of a variant -> mode of torch.compile; CUDA graphs are tried on CUDA alone."""
FACTORS = (0.5, 1, 2)


@dataclass(frozen=True)
class Case:
    """A network, its batch and the side of its LR patches."""

    network: str
    batch: int
    side: int


FULL = (Case("paragonsr2_nano", 32, 128), Case("paragonsr2_s", 12, 128))
DRY = (Case("paragonsr2_nano", 2, 16),)


def variants(device: torch.device) -> list[tuple[str, torch.dtype | None, str | None]]:
    """Name, autocast dtype and compile mode of what is measured on a device."""
    precisions: list[tuple[str, torch.dtype | None]] = [("fp32", None)]
    if has_fast_bf16(device):
        precisions.append(("bf16", torch.bfloat16))
    modes = COMPILED if device.type == "cuda" else {"eager": None}
    return [(f"{p} {name}", dtype, mode) for p, dtype in precisions for name, mode in modes.items()]


class Step:
    """A training step of its own network."""

    def __init__(self, case: Case, device: torch.device, dtype: torch.dtype | None, mode: str | None) -> None:
        torch.manual_seed(0)
        network: nn.Module = NETWORKS[case.network]().build(scale=SCALE).to(device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
        self.network = network if mode is None else torch.compile(network, mode=mode)
        self.device, self.dtype = device, dtype

    def __call__(self, lq: Tensor, hr: Tensor) -> None:
        """Step on N x 3 x h x w images in [0, 1] on the device."""
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            sr = self.network(lq)
        nn.functional.l1_loss(sr.float(), hr).backward()
        self.optimiser.step()


def images(case: Case, device: torch.device, factor: float = 1) -> tuple[Tensor, Tensor]:
    """Random LR and HR images."""
    count = max(1, int(case.batch * factor))
    return torch.rand(count, 3, case.side, case.side, device=device), torch.rand(
        count, 3, SCALE * case.side, SCALE * case.side, device=device
    )


def product_flops(device: torch.device, dtype: torch.dtype, side: int, turns: int) -> float:
    """FLOP/s of a product of square matrices."""
    one, other = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = in_turns({"": lambda: torch.mm(one, other)}, turns, clock=clock_for(device), warm_up=2)[""]
    return 2 * side**3 / max(min(seconds), 1e-9)


def measure(case: Case, device: torch.device, turns: int, side: int) -> dict[str, float]:
    """What is measured -> its value; times in ms."""
    given, clock, found = images(case, device), clock_for(device), {}
    steps: dict[str, Step] = {}
    dtypes: dict[str, torch.dtype | None] = {}
    for name, dtype, mode in variants(device):
        try:
            step = Step(case, device, dtype, mode)
            step(*given)
            steps[name], dtypes[name] = step, dtype
        except Exception as error:  # whatever a compiler fails on: the others are measured
            print(f"    {name} failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}", flush=True)
    seconds = in_turns({n: _bound(s, given) for n, s in steps.items()}, turns, clock=clock, warm_up=3)
    typical = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, taken in seconds.items():
        found[f"{name}, ms"] = 1e3 * typical[name]
        found[f"{name}, spread in ms"] = 1e3 * (max(taken) - min(taken))
    best = min(typical, key=typical.__getitem__)
    flops = 6 * case.batch * count_macs(NETWORKS[case.network]().build(scale=SCALE), case.side, case.side)
    peak = product_flops(device, dtypes[best] or torch.float32, side, turns)
    found[f"roofline of {best}, share"] = flops / typical[best] / peak
    found[f"busy with {best}, share"] = typical[best] / from_store(case, device, steps[best], turns)
    found |= degradation(case, device, steps[best], turns)
    eager = steps["fp32 eager"]
    batches = {factor: images(case, device, factor) for factor in FACTORS}
    taken_by = in_turns({str(f): _bound(eager, b) for f, b in batches.items()}, turns, clock=clock, warm_up=2)
    for factor, batch in batches.items():
        found[f"batch of {len(batch[0])}, samples/s"] = len(batch[0]) / statistics.median(taken_by[str(factor)])
    return found


def _bound(step: Step, given: tuple[Tensor, Tensor]) -> Callable[[], None]:
    return lambda: step(*given)


def from_store(case: Case, device: torch.device, step: Step, turns: int) -> float:
    """Median seconds of a step that takes its batch from the packed store, as training does."""
    context, clock = DeviceContext(device, None, True), clock_for(device, threads=2)
    with tempfile.TemporaryDirectory() as folder:
        make_demo_images(Path(folder))
        root = Path(folder)
        options = SingleOptions(
            dataroot_gt=str(root / "train"), store_root=str(root / "store"), lq_size=min(case.side, 32)
        )
        store = open_packed(options, SCALE, "train")
        repeat = case.side // options.lq_size  # the demo's images are small: patches are laid side by side
        number = iter(range(10**9))
        with Prefetcher(Sampler(store, options, SCALE, 0)) as batches:

            def work() -> None:
                batch = batches.batch(next(number) * case.batch, case.batch)
                assert batch.lq is not None
                step(*(to_device(np.tile(i, (1, repeat, repeat, 1)), context) for i in (batch.lq, batch.hr)))

            seconds = in_turns({"": work}, turns, clock=clock, warm_up=3)[""]
    return statistics.median(seconds)


def degradation(case: Case, device: torch.device, step: Step, turns: int) -> dict[str, float]:
    """Samples per second of Real-ESRGAN's degradation, and the share of time that steps wait for it."""
    found, workers = {}, os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        small = np.random.default_rng(0).integers(0, 256, (4, case.side, case.side, 3), np.uint8)
        for number, image in enumerate(small):
            write_png(Path(folder) / f"hr/{number}.png", upscale(image, 2 * SCALE))
        options = SingleOptions(
            dataroot_gt=f"{folder}/hr",
            store_root=f"{folder}/store",
            lq_size=case.side,
            degradation=RealESRGANOptions(),
            degradation_device="training",
        )
        store = open_packed(options, SCALE, "train")
        for name, place in {"degradation on the CPU": None, "degradation on the device": device}.items():
            with Prefetcher(options.sampler(store, SCALE, 0, place), workers=workers) as batches:
                ahead, count = 2 * workers, turns * workers  # batches that are made before a clock starts; and timed
                fed(batches, case, range(ahead), None)
                seconds, _ = fed(batches, case, range(ahead, ahead + count), None)
                found[f"{name}, samples/s"] = count * case.batch / seconds
                fed(batches, case, range(ahead + count, 2 * ahead + count), step)
                seconds, waited = fed(batches, case, range(2 * ahead + count, 2 * (ahead + count)), step)
                found[f"{name}, wait of a step, share"] = waited / seconds
    return found


def fed(batches: Prefetcher, case: Case, numbers: range, step: Step | None) -> tuple[float, float]:
    """Seconds that batches and the steps on them take, and those of it that were spent on waiting for a batch."""
    began, waited = time.perf_counter(), 0.0
    for number in numbers:
        batch = batches.batch(number * case.batch, case.batch)
        waited += batches.waited
        if step is not None:
            assert batch.lq is not None
            context = DeviceContext(step.device, None, True)
            step(to_device(batch.lq, context), to_device(batch.hr, context))
            if step.device.type == "cuda":
                torch.cuda.current_stream(step.device).synchronize()  # otherwise we wait while the device works
    return time.perf_counter() - began, waited


def main() -> None:
    """Measure, and print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    device = best_device()
    if device.type != "cuda" and not given.dry:
        parser.error("there is no CUDA device. Try the code with --dry.")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"{name}, torch {torch.__version__}" + (", dry: the figures mean nothing" if given.dry else ""))
    results = {}
    for case in DRY if given.dry else FULL:
        print(f"{case.network}, {case.batch} x {case.side} x {case.side}", flush=True)
        found = measure(case, device, 2 if given.dry else given.turns, 64 if given.dry else 8192)
        for what, value in found.items():
            print(f"    {what:40}{value:10.3f}")
        results[case.network] = found
    if given.json:
        content = {"device": name, "torch": torch.__version__, "dry": given.dry, "networks": results}
        given.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
