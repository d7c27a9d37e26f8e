"""torch.compile, used only if a measurement shows the same output at no lower speed."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from paragonsr.training.engine.batch_norm import RunningStatistics
from paragonsr.training.engine.device_context import DeviceContext

TOLERANCE = 1e-2
"""Largest difference of the outputs, relative to their largest value, in mixed precision; fp32 comes far closer."""


def compiled_if_it_pays(
    network: nn.Module, lr_images: Tensor, device_context: DeviceContext, say: Callable[[str], None]
) -> nn.Module:
    """Compile the network; returns the network itself if compiling fails, changes the output or is slower.

    Args:
        network: in training mode; its gradients are cleared.
        lr_images: one micro-batch, as in training.
        device_context: device and precision.
        say: receives the decision as one sentence.
    """
    statistics = RunningStatistics(network)
    statistics.keep()
    try:
        compiled = torch.compile(network)
        expected, eager = _measure(network, lr_images, device_context)
        got, fast = _measure(compiled, lr_images, device_context)
    except Exception as error:  # whatever the compiler fails on: training continues in eager mode and says so
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        say(f"use_compile: the compiler failed ({reason}): training in eager mode")
        return network
    finally:
        network.zero_grad(set_to_none=True)
        statistics.restore()
    difference = float((expected - got).abs().max() / expected.abs().max().clamp_min(1e-6))
    if difference > TOLERANCE:
        say(f"use_compile: the compiled network's output differs by {difference:.1e}: training in eager mode")
        return network
    ratio = eager / fast
    if ratio < 1:
        say(f"use_compile: a compiled step takes {1 / ratio:.2f} times as long: training in eager mode")
        return network
    say(f"use_compile: a compiled step is {ratio:.2f} times as fast (output differs by {difference:.1e}): in use")
    return compiled  # type: ignore[return-value]


def _measure(
    network: Callable[[Tensor], Tensor], images: Tensor, device_context: DeviceContext
) -> tuple[Tensor, float]:
    """Output, and the median time of forward and backward in seconds, after two warm-up rounds."""
    seconds = []
    for _ in range(7):
        _synchronise(device_context)
        began = time.perf_counter()
        with device_context.autocast():
            out = network(images)
        out.float().square().mean().backward()
        _synchronise(device_context)
        seconds.append(time.perf_counter() - began)
    return out.detach().float(), sorted(seconds[2:])[2]


def _synchronise(device_context: DeviceContext) -> None:
    if device_context.device.type == "cuda":
        torch.cuda.synchronize(device_context.device)
