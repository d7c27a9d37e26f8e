"""Muon: orthogonalised momentum for hidden layers (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

A hidden layer's momentum M = U S V^T is replaced by approximately U V^T, with five Newton-Schulz steps. The result is
scaled by 0.2 sqrt(longer side), so that its elements are as large as Adam's and one learning rate suits both (Liu et
al., 2502.16982). Vectors, depthwise kernels and layers that read the image are updated by Adam.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from paragonsr.optim.batched import BatchedOptimiser, adam_state
from paragonsr.optim.options import MuonOptions

IMAGE_CHANNELS = 3
"""A layer with at most this many input channels reads the image, or a single channel."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of a X + b (X X^T) X + c (X X^T)^2 X, which drives singular values in (0, 1] to about 0.7 to 1.2."""
STEPS = 5


class Muon(BatchedOptimiser):
    """Muon on hidden layers, Adam elsewhere, with decoupled weight decay.

    Args:
        parameters: trained parameters, float32.
        lr: learning rate.
        momentum: Nesterov momentum of the hidden layers.
        betas: betas of Adam.
        eps: eps of Adam.
        weight_decay: the weights shrink by lr weight_decay per step.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(parameters, defaults | {"momentum": momentum})

    def _update(self, parameters: list[nn.Parameter], gradient: Tensor, taken: Tensor, group: dict[str, Any]) -> None:
        hidden = is_hidden(parameters[0])
        for p, first in zip(parameters, gradient, strict=True):
            if not self.state[p]:
                self.state[p].update({"moment": torch.zeros_like(first)} if hidden else adam_state(first))
        if hidden:
            change = self._orthogonal(parameters, gradient, taken, group["momentum"])
        else:
            change = self._adam(parameters, gradient, taken, group)
        self._apply(parameters, change, taken, group)

    def _orthogonal(self, parameters: list[nn.Parameter], gradient: Tensor, taken: Tensor, momentum: float) -> Tensor:
        moment = self._stack(parameters, "moment")
        moment = torch.where(taken > 0, momentum * moment + gradient, moment)
        self._put(parameters, "moment", moment)
        return 0.2 * math.sqrt(max(gradient.shape[-2:])) * orthogonalised(gradient + momentum * moment)


def build(options: MuonOptions, *, parameters: Iterable[nn.Parameter]) -> Muon:
    """Build Muon from its options."""
    return Muon(
        parameters,
        lr=options.first_lr,
        momentum=options.momentum,
        betas=(options.betas[0], options.betas[1]),
        eps=options.eps,
        weight_decay=options.weight_decay,
    )


def is_hidden(parameter: nn.Parameter) -> bool:
    """Whether a parameter is the weight of a layer between two sets of features."""
    return parameter.ndim > 1 and parameter.shape[0] > 1 and parameter.shape[1] > IMAGE_CHANNELS


def orthogonalised(matrices: Tensor) -> Tensor:
    """Approximate U V^T of each matrix U S V^T, (N, rows, columns), by Newton-Schulz steps."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
