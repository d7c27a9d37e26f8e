"""torch.compile of the network and the losses, used only if a measurement shows the same result in less time."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from paragonsr.timing import clock_for, in_turns, times_as_fast
from paragonsr.training.engine.backward import backward
from paragonsr.training.engine.batch_norm import RunningStatistics
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.objective import Objective

TOLERANCE = 1e-2
"""Largest difference of the output and of the losses' gradient, relative to their largest value, in mixed precision;
fp32 comes far closer."""
MARGIN = 1.05
"""Times as fast that a compiled step must be: less is within the spread of the measurement."""
ROUNDS = 7
"""Timed rounds; in each, all variants take turns."""
WORTH_SECONDS = 120.0
"""Shortest run, in seconds, that compiling can repay: compiling takes up to a minute, and saves a third at best."""


@dataclass(frozen=True)
class Variant:
    """A way to compute the gradient of a step."""

    name: str
    network: nn.Module
    objective: Objective


def compiled_if_it_pays(
    network: nn.Module,
    objective: Objective,
    images: tuple[Tensor, Tensor],
    iterations: int,
    device_context: DeviceContext,
    say: Callable[[str], None],
) -> tuple[nn.Module, Objective]:
    """Compile the network, and the network with the losses, and use the fastest variant.

    Eager mode is kept if compiling fails, changes the result or is not MARGIN times as fast, or if the run is too short
    to repay it. The variants take turns, so that load on the machine affects all of them, and on a CPU the time is that
    of this process.

    Args:
        network: in training mode; its gradients are cleared.
        objective: the losses.
        images: LR and HR images of one micro-batch, as in training, on the device.
        iterations: micro-batches of the run.
        device_context: device and precision.
        say: receives the decision as one sentence.

    Returns:
        network and objective as the step is to call them.
    """
    eager = Variant("eager", network, objective)
    statistics_of_norms = RunningStatistics(network)
    statistics_of_norms.keep()
    try:
        expected = _gradients(eager, images, device_context)
        seconds = statistics.median(_in_turns([eager], images, device_context)["eager"])
        if seconds * iterations < WORTH_SECONDS:
            say(f"use_compile: the run takes about {seconds * iterations:.0f} s, too short to repay compiling")
            return network, objective
        compiled = _compiled(network, objective)
        differences = {v.name: _difference(expected, _gradients(v, images, device_context)) for v in compiled}
        times = _in_turns([eager, *compiled], images, device_context)
    except Exception as error:  # whatever the compiler fails on: training continues in eager mode and says so
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        say(f"use_compile: the compiler failed ({reason}): training in eager mode")
        return network, objective
    finally:
        network.zero_grad(set_to_none=True)
        statistics_of_norms.restore()
    same = [variant for variant in compiled if differences[variant.name] <= TOLERANCE]
    if not same:
        worst = min(differences.values())
        say(f"use_compile: the result of a compiled step differs by {worst:.1e}: training in eager mode")
        return network, objective
    ratios = {variant.name: times_as_fast(times, "eager", variant.name) for variant in same}
    best = max(same, key=lambda variant: ratios[variant.name])
    ratio = ratios[best.name]
    said = f"{best.name} compiled, a step is {ratio:.2f} times as fast"
    if ratio < MARGIN:
        say(f"use_compile: with {said}, {MARGIN} times are required: training in eager mode")
        return network, objective
    say(f"use_compile: with {said} (the result differs by {differences[best.name]:.1e}): in use")
    return best.network, best.objective


def _compiled(network: nn.Module, objective: Objective) -> list[Variant]:
    compiled: nn.Module = torch.compile(network)  # type: ignore[assignment]
    return [
        Variant("the network", compiled, objective),
        Variant("network and losses", compiled, objective.compiled()),
    ]


def _gradients(variant: Variant, images: tuple[Tensor, Tensor], device_context: DeviceContext) -> tuple[Tensor, Tensor]:
    """SR images, and the gradient of the losses with respect to them; also fills the network's gradients."""
    lq, hr = images
    with device_context.autocast():
        sr = variant.network(lq)
    weights = variant.objective.weights(0, {})
    total = variant.objective.gradient(sr, hr, weights).total
    backward(sr, total)
    return sr.detach().float(), total


def _difference(expected: tuple[Tensor, Tensor], got: tuple[Tensor, Tensor]) -> float:
    pairs = zip(expected, got, strict=True)
    return max(float((a - b).abs().max() / a.abs().max().clamp_min(1e-6)) for a, b in pairs)


def _in_turns(
    variants: list[Variant], images: tuple[Tensor, Tensor], device_context: DeviceContext
) -> dict[str, list[float]]:
    """Seconds of forward and backward of each variant in each turn, after two turns of warm-up.

    On a CPU they are of this process, whose threads are the same in all variants.
    """
    sides = {variant.name: partial(_gradients, variant, images, device_context) for variant in variants}
    return in_turns(sides, ROUNDS, clock=clock_for(device_context.device), warm_up=2)
