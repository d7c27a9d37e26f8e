"""Backward pass from a given gradient."""

from typing import Any

import torch
from torch import Tensor


class _Gradient(torch.autograd.Function):
    """Scalar whose gradient with respect to an image is the one given."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return image.new_zeros(())

    @staticmethod
    def backward(ctx: Any, one: Tensor) -> tuple[Tensor, None]:
        return ctx.gradient, None


def backward(image: Tensor, gradient: Tensor) -> None:
    """Add to the parameters' gradients what `gradient` with respect to `image` (same shape) gives them.

    As `image.backward(gradient)`, which imports SymPy at its first call (0.6 s of CPU time) to compare the shapes.
    """
    _Gradient.apply(image, gradient.to(image.dtype)).backward()
