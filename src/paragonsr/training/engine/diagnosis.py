"""What a non-finite step came from: the loss, the layer, the files."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from paragonsr.automation.protocol import Steps
from paragonsr.data.sampling import Batch
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.step import lq_images, to_device


def bad_steps(window: Steps) -> np.ndarray:
    """Positions in the window whose update was skipped."""
    return np.flatnonzero(window.values["finite"] == 0)


def explain(
    window: Steps, position: int, network: nn.Module, batch: Batch, files: Sequence[str], device_context: DeviceContext
) -> str:
    """One sentence on a skipped step of a window.

    Args:
        window: the observation it stands in.
        position: where in the window.
        network: with its present weights.
        batch: the images of that step.
        files: their names.
        hardware: device and precision.
    """
    iteration = int(window.values["iteration"][position])
    losses = [
        name.removeprefix("loss/")
        for name, values in window.values.items()
        if name.startswith("loss/")
        and not np.isfinite(values[position])
        and window.values[f"loss_weight/{name.removeprefix('loss/')}"][position] != 0
    ]
    loss = f"loss {', '.join(losses)} is not finite" if losses else "all losses are finite, their gradient is not"
    shown = ", ".join(dict.fromkeys(files))
    return f"iteration {iteration}: update skipped: {loss}; {_layer(network, batch, device_context)}; batch: {shown}"


def _layer(network: nn.Module, batch: Batch, device_context: DeviceContext) -> str:
    """The first layer whose weights or output are not finite."""
    for name, parameter in network.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"the weights {name} are not finite"
    found: list[str] = []
    handles = []
    for name, module in network.named_modules():

        def watch(_module: nn.Module, _inputs: object, output: object, name: str = name) -> None:
            if isinstance(output, torch.Tensor) and not found and not torch.isfinite(output).all():
                found.append(name or type(_module).__name__)

        handles.append(module.register_forward_hook(watch))
    try:
        with torch.no_grad(), device_context.autocast():
            network(lq_images(batch, to_device(batch.hr, device_context), device_context))
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return f"layer {found[0]} is the first whose output is not finite"
    return "with the present weights every layer's output is finite"
