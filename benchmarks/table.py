"""One table: what training and upscaling cost, next to straightforward code (`benchmarks/reference`).

python -m benchmarks.table [--turns 15] [--json FILE]

Everything runs on one thread and in turns, and CPU time is counted. The table has the median of each side, and the
median and range over the turns of reference / ours. Above it are the limits of this machine: what a large matrix
product, a copy and the convolution of a nano reach. The images are those of the demo.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from benchmarks.degradation import patches
from benchmarks.ms_ssim import images as pair_for_ms_ssim
from benchmarks.reference import plain_training, real_esrgan
from benchmarks.turns import Timed, compared, milliseconds
from pytorch_msssim import ms_ssim
from torch import Tensor

from paragonsr import load
from paragonsr.archs.classic_options import NanoOptions
from paragonsr.archs.complexity import count_macs
from paragonsr.data.demo import make_demo_images
from paragonsr.data.images import read_image, write_png
from paragonsr.data.options import SingleOptions
from paragonsr.data.packed import open_packed
from paragonsr.data.sampling import Batch, Sampler
from paragonsr.degradation.base import Degradation
from paragonsr.degradation.realesrgan import RealESRGANOptions
from paragonsr.export.engines import EXTRAS, use_engine
from paragonsr.losses.options import L1Options, MSSSIMLossOptions
from paragonsr.optim.muon import Muon
from paragonsr.optim.soap import SOAP
from paragonsr.resize import downscale
from paragonsr.training.control.controller import Hyperparameters
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.objective import Objective
from paragonsr.training.engine.step import TrainStep

CPU = DeviceContext(torch.device("cpu"), None, False)
SCALE = 2
LIMIT_TURNS = 7
STEPS = 10
"""Updates that are timed as one: SOAP renews its bases in one of ten."""


def limits() -> dict[str, float]:
    """GFLOP/s of a matrix product and of nano's convolution, and GB/s read and written by a copy; one thread."""
    one, other = torch.rand(1024, 1024), torch.rand(1024, 1024)
    source, target = torch.rand(2**26), torch.empty(2**26)
    image = torch.rand(16, 16, 32, 32).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(16, 16, 3, 3).contiguous(memory_format=torch.channels_last)
    works: dict[str, tuple[Callable[[], object], float]] = {
        "matrix product, GFLOP/s": (lambda: torch.mm(one, other), 2 * 1024**3 / 1e9),
        "copy, GB/s": (lambda: target.copy_(source), 2 * 4 * 2**26 / 1e9),
        "convolution 16 to 16, GFLOP/s": (
            lambda: torch.conv2d(image, weight, padding=1),
            2 * 9 * 16 * 16 * 16 * 32 * 32 / 1e9,
        ),
    }
    found = {}
    for name, (work, amount) in works.items():
        seconds = []
        for _ in range(LIMIT_TURNS):
            begun = time.process_time()
            for _ in range(4):
                work()
            seconds.append((time.process_time() - begun) / 4)
        found[name] = amount / min(seconds)
    return found


def rows(folder: Path, turns: int) -> Iterator[tuple[str, str, Timed]]:
    """What is measured, the reference, and the times."""
    make_demo_images(folder)
    yield from _data(folder, turns)
    hr, sr = pair_for_ms_ssim(0.05)
    loss = MSSSIMLossOptions().build()
    yield (
        "MS-SSIM, 8 x 256 x 256, with its gradient",
        "pytorch-msssim",
        compared(
            lambda: _gradient(loss, sr, hr),
            lambda: _gradient(lambda a, b: 1 - ms_ssim(a, b, data_range=1.0), sr, hr),
            turns,
        ),
    )
    for name, batch, side, structural in (("L1", 16, 32, 0.0), ("L1 + MS-SSIM", 4, 96, 0.05)):
        what = f"training step of a nano, {batch} x {side} x {side}, {name}"
        yield what, "plain PyTorch", _step(batch, side, structural, turns)
    yield from _optimisers(turns)
    ours = RealESRGANOptions().build(scale=4, seed=0)
    assert isinstance(ours, Degradation)
    crops, number = patches([], 256), iter(range(10**9))
    yield (
        "Real-ESRGAN's degradation, 256 x 256",
        "NumPy and OpenCV",
        compared(
            lambda: [ours.degrade(crop, next(number)) for crop in crops],
            lambda: [real_esrgan.degrade(crop, 4, np.random.default_rng([0, next(number)])) for crop in crops],
            turns,
        ),
    )
    upscaler = load("nano", device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    plain = NanoOptions(luma_body=True, num_blocks=4).build(scale=SCALE).eval()
    plain.load_state_dict(upscaler.network.state_dict(), strict=False)
    yield (
        "upscaling with nano, 512 x 512",
        "plain PyTorch",
        compared(lambda: upscaler.upscale(image), lambda: plain_training.upscale(plain, image), turns),
    )
    yield from _engines(turns)


def _optimisers(turns: int) -> Iterator[tuple[str, str, Timed]]:
    """Updates with gradients that stay the same."""
    for name, make in (("SOAP", SOAP), ("Muon", Muon)):
        ours, theirs = (NanoOptions().build(scale=SCALE) for _ in range(2))
        optimiser = make(ours.parameters(), lr=1e-4)
        plain = torch.optim.AdamW(theirs.parameters(), lr=1e-4, fused=True)
        for network in (ours, theirs):
            for parameter in network.parameters():
                parameter.grad = torch.randn_like(parameter)
        timed = compared(partial(_steps, optimiser), partial(_steps, plain), turns)
        yield f"{STEPS} updates of a nano by {name}", "AdamW of torch, fused", timed


def _steps(optimiser: torch.optim.Optimizer) -> None:
    for _ in range(STEPS):
        optimiser.step()


def _engines(turns: int) -> Iterator[tuple[str, str, Timed]]:
    """Engines that are installed, against the network itself; what is missing is named."""
    image = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    plain = load("nano", device="cpu")
    for name in EXTRAS:
        if find_spec(name) is None:
            print(f"upscaling with nano by {name}: it is not installed")
            continue
        engine = use_engine(load("nano", device="cpu"), name, Path("nano"))
        timed = compared(partial(engine.upscale, image), partial(plain.upscale, image), turns)
        assert engine.network.chosen == name
        yield f"upscaling with nano, 512 x 512, by {name}", "torch", timed


def _data(folder: Path, turns: int) -> Iterator[tuple[str, str, Timed]]:
    options = SingleOptions(dataroot_gt=str(folder / "train"), store_root=str(folder / "store"), lq_size=32)
    store = open_packed(options, SCALE, "train")
    sampler, number = Sampler(store, options, SCALE, 0), iter(range(10**9))
    for name in ("hr", "lq"):
        (folder / name).mkdir()
    for file in (folder / "train").iterdir():
        image = read_image(file)
        image = image[: image.shape[0] // SCALE * SCALE, : image.shape[1] // SCALE * SCALE]
        write_png(folder / "hr" / file.name, image)
        write_png(folder / "lq" / file.name, downscale(image, SCALE))
    yield (
        "16 patches of 32 x 32 with their HR patches",
        "PNG files, Pillow",
        compared(
            lambda: sampler.batch(16 * next(number), 16),
            lambda: plain_training.batch(folder / "hr", folder / "lq", 16, 32, SCALE),
            turns,
        ),
    )


def _gradient(loss: Callable[[Tensor, Tensor], Tensor], sr: Tensor, hr: Tensor) -> Tensor:
    leaf = sr.detach().requires_grad_()
    return torch.autograd.grad(loss(leaf, hr), leaf)[0]


def _step(batch: int, side: int, structural: float, turns: int) -> Timed:
    step, lq, hr = nano_step(batch, side, structural)
    theirs = NanoOptions().build(scale=SCALE)
    tensors = [torch.from_numpy(images).permute(0, 3, 1, 2).float().contiguous() / 255 for images in (lq, hr)]
    return compared(step, plain_training.stepper(theirs, *tensors, structural), turns)


def nano_step(batch: int, side: int, structural: float) -> tuple[Callable[[], object], np.ndarray, np.ndarray]:
    """The trainer's step of a nano on random images, and these: LR patches of `side`, x2, N x h x w x 3 uint8."""
    torch.manual_seed(0)
    hr = np.random.default_rng(0).integers(0, 256, (batch, SCALE * side, SCALE * side, 3), np.uint8)
    lq = np.ascontiguousarray(hr[:, ::SCALE, ::SCALE])
    network = NanoOptions().build(scale=SCALE)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    losses = [L1Options(), *([MSSSIMLossOptions(loss_weight=structural)] if structural else [])]
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-4, fused=True)
    step = TrainStep(network, Objective(losses, CPU), optimiser, CPU)
    given = Batch(lq, hr, tuple(range(batch)), ("random",) * batch)
    weights = {"l1": 1.0} | ({"mssim": structural} if structural else {})
    return lambda: step.step(given, Hyperparameters(batch, batch, None), weights, 2e-4), lq, hr


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    machine = limits()
    for name, value in machine.items():
        print(f"{name:36}{value:8.1f}")
    flops = 6 * 16 * count_macs(NanoOptions().build(scale=SCALE), 32, 32) / 1e9
    print(f"\n{'ms of CPU time, one thread':56}{'ours':>9}{'reference':>11}  ratio (range)")
    table = []
    with tempfile.TemporaryDirectory() as folder:
        for name, reference, timed in rows(Path(folder), given.turns):
            ratio = statistics.median(timed.ratios)
            print(
                f"{name:56}{milliseconds(timed.ours):>9}{milliseconds(timed.reference):>11}"
                f"  {ratio:.2f} ({timed.ratios[0]:.2f} to {timed.ratios[-1]:.2f}), {reference}",
                flush=True,
            )
            if name.endswith("32, L1"):
                reached = flops / statistics.median(timed.ours)
                print(f"    {reached:.1f} GFLOP/s, {reached / machine['convolution 16 to 16, GFLOP/s']:.0%} of nano's")
            table.append({"what": name, "reference": reference, "ours_s": timed.ours, "reference_s": timed.reference})
    if given.json:
        content = {"torch": torch.__version__, "machine": machine, "table": table}
        given.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
