"""Base of SOAP and Muon: parameters of equal shape are updated together.

Small networks consist of many small matrices. Stacked, they cost a few batched products per step, however deep the
network is, and the host reads nothing back. The state holds one flat tensor per quantity and parameter.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from paragonsr.optim.eager import eager

Map = Callable[[Tensor], Tensor]


@eager
class BatchedOptimiser(Optimizer, ABC):
    """Optimiser with decoupled weight decay that falls back to Adam (1412.6980) for some parameters.

    A kernel (out, in, kh, kw) is treated as the matrix (out, in kh kw), or as a vector if a side of it is 1.

    Args:
        parameters: trained parameters, float32.
        defaults: defaults of the parameter groups, including `lr`, `betas`, `eps` and `weight_decay`.

    Attributes:
        found_inf: None, or a 0-dim tensor on the parameters' device; if it is 1, the step changes nothing.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], defaults: dict[str, Any]) -> None:
        super().__init__(parameters, defaults | {"steps": 0})
        self.found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            group["steps"] += 1
            for parameters in by_shape(group["params"]):
                gradient = torch.stack([as_matrix(p.grad) for p in parameters if p.grad is not None])
                taken = gradient.new_ones(()) if self.found_inf is None else 1 - self.found_inf
                self._update(parameters, gradient.where(taken > 0, 0), taken, group)
            self._after(group)

    @abstractmethod
    def _update(self, parameters: list[nn.Parameter], gradient: Tensor, taken: Tensor, group: dict[str, Any]) -> None:
        """Update parameters of equal shape.

        Args:
            parameters: N parameters.
            gradient: (N, rows, columns) or (N, length).
            taken: 1, or 0 if the step must change nothing.
            group: the options.
        """

    def _after(self, group: dict[str, Any]) -> None:
        """Hook called after the update of a parameter group."""

    def _adam(
        self,
        parameters: list[nn.Parameter],
        gradient: Tensor,
        taken: Tensor,
        group: dict[str, Any],
        into: Map = torch.clone,
        out_of: Map = torch.clone,
    ) -> Tensor:
        """Adam's change, before the learning rate, computed in the coordinates given by `into` and `out_of`."""
        moment, second = self._stack(parameters, "moment"), self._stack(parameters, "second_moment")
        step = self._stack(parameters, "updates") + taken
        first_beta, second_beta = group["betas"]
        moment.lerp_(gradient, (1 - first_beta) * taken)
        second.lerp_(into(gradient).square(), (1 - second_beta) * taken)
        for name, values in (("updates", step), ("moment", moment), ("second_moment", second)):
            self._put(parameters, name, values)
        count = step.clamp(min=1).view(-1, *[1] * (gradient.ndim - 1))
        root = (second / (1 - second_beta**count)).sqrt_().add_(group["eps"])
        return out_of(into(moment).div_(1 - first_beta**count).div_(root))

    def _apply(self, parameters: list[nn.Parameter], change: Tensor, taken: Tensor, group: dict[str, Any]) -> None:
        """Subtract lr times the change, and decay the weights."""
        weights: list[Tensor] = [*parameters]
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"] * taken)
        change = (group["lr"] * taken * change).view(-1, *parameters[0].shape)
        torch._foreach_sub_(weights, change.unbind())

    def _stack(self, parameters: list[nn.Parameter], name: str) -> Tensor:
        return torch.stack([self.state[p][name] for p in parameters])

    def _put(self, parameters: list[nn.Parameter], name: str, values: Tensor) -> None:
        torch._foreach_copy_([self.state[p][name] for p in parameters], list(values.unbind()))


def by_shape(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Group the parameters that have a gradient by shape, dtype and device."""
    found: dict[Any, list[nn.Parameter]] = defaultdict(list)
    for p in parameters:
        if p.grad is not None:
            found[p.shape, p.dtype, p.device].append(p)
    return list(found.values())


def as_matrix(gradient: Tensor) -> Tensor:
    """Reshape (out, in, ...) to (out, everything else), or to a vector if one of these sides is 1."""
    matrix = gradient.reshape(len(gradient), -1) if gradient.ndim > 1 else gradient.reshape(-1)
    return matrix.reshape(-1) if 1 in matrix.shape else matrix


def adam_state(gradient: Tensor) -> dict[str, Tensor]:
    """Initial state of `_adam`."""
    return {
        # Not named "step": torch keeps a tensor of that name on the CPU when loading a state.
        "updates": torch.zeros((), device=gradient.device),
        "moment": torch.zeros_like(gradient),
        "second_moment": torch.zeros_like(gradient),
    }
