"""A trainable network with its optimiser and gradient scaler, updated and saved together."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from paragonsr.optim import optimisers
from paragonsr.optim.batched import BatchedOptimiser
from paragonsr.training.engine.batch_norm import RunningStatistics
from paragonsr.training.engine.device_context import DeviceContext

TrainableState = tuple[dict[str, Tensor], dict[str, Any]]
"""Named tensors, and the rest as JSON."""


class Trainable:
    """A network with its optimiser.

    Args:
        network: the network itself, not a wrapper around it.
        optimiser: holds the network's parameters.
        device_context: device, precision, processes.
    """

    def __init__(self, network: nn.Module, optimiser: Optimizer, device_context: DeviceContext) -> None:
        self.network, self.optimiser, self.device_context = network, optimiser, device_context
        self.scaler = device_context.scaler()
        self.statistics = RunningStatistics(network)
        self._parameters = [p for p in network.parameters() if p.requires_grad]

    def set_lr(self, lr: float) -> None:
        """Use this learning rate from now on."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr

    def begin(self) -> None:
        """Discard what an earlier attempt at the step left: its gradients, and its changes of running statistics."""
        self.optimiser.zero_grad(set_to_none=True)
        self.statistics.restore()

    def gradients(self) -> list[Tensor]:
        """All existing gradients."""
        return [p.grad for p in self._parameters if p.grad is not None]

    def gradient_norm(self) -> Tensor:
        """L2 norm of all gradients as stored (scaled in fp16), 0-dim."""
        return nn.utils.get_total_norm(self.gradients())

    def average_gradients(self) -> None:
        """Average the gradients over all processes."""
        for gradient in self.gradients():
            dist.all_reduce(gradient)
            gradient /= self.device_context.world

    def update(self, grad_clip: float | None = None) -> tuple[Tensor, Tensor]:
        """Update the weights, unless the gradient is not finite.

        Args:
            grad_clip: maximum gradient norm; None does not clip.

        Returns:
            norm of the gradient before clipping; 1 if the update was made, 0 if it was skipped. Both 0-dim.
        """
        if self.scaler.is_enabled():
            self.scaler.unscale_(self.optimiser)
        norm = self.gradient_norm()
        finite = torch.isfinite(norm)
        if grad_clip is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, grad_clip, norm)
        if self.scaler.is_enabled():
            self.scaler.step(self.optimiser)
            self.scaler.update()
        elif self._skips_on_device:
            # Such optimisers leave weights and moments unchanged if found_inf is set: no host sync is needed.
            self.optimiser.grad_scale = None  # type: ignore[attr-defined]
            self.optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
            self.optimiser.step()
        elif finite:
            self.optimiser.step()
        self.statistics.average(self.device_context)
        self.statistics.restore_unless(finite)
        return norm.detach(), finite.detach().float()

    @property
    def _skips_on_device(self) -> bool:
        able = isinstance(self.optimiser, BatchedOptimiser) or bool(self.optimiser.defaults.get("fused"))
        return able and self.device_context.device.type == "cuda"

    def state(self) -> TrainableState:
        """Weights, and the state of optimiser and scaler."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        optimiser, rest = optimisers.flatten(self.optimiser)
        tensors |= {f"optimiser.{k}": v for k, v in optimiser.items()}
        return tensors, {"optimiser": rest, "scaler": self.scaler.state_dict()}

    def restore(self, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """Restore what `state` returned, bit for bit."""
        self.network.load_state_dict(under("network", tensors))
        optimisers.unflatten(self.optimiser, under("optimiser", tensors), rest["optimiser"])
        if rest["scaler"]:
            self.scaler.load_state_dict(rest["scaler"])


def under(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors whose names begin with `name.`, with that prefix removed."""
    prefix = f"{name}."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
