"""Distances of the features of two images, shared by losses and metrics."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Maps = Mapping[str, Tensor]
"""Layer -> N x C x h x w."""
C = 1e-6
"""Constant of both terms of DISTS."""


def unit_distance(ours: Maps, theirs: Maps, weights: Mapping[str, Tensor] | None = None) -> Tensor:
    """LPIPS (Zhang et al. 1801.03924): squared difference of the features, each position normalised to a vector of
    length 1, weighted by channel, mean over positions.

    Args:
        ours, theirs: features after the activation.
        weights: layer -> weight of each channel, C; summed over layers. None weights all channels with 1 and takes the
            mean over layers, in [0, 2].

    Returns:
        N distances.
    """
    total = next(iter(ours.values())).new_zeros(())
    for layer, mine in ours.items():
        squares = (_unit(mine) - _unit(theirs[layer])).square()
        if weights is not None:
            squares = squares * weights[layer].view(1, -1, 1, 1)
        total = total + squares.sum(1).mean((1, 2))
    return total if weights is not None else total / len(ours)


def _unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(1, keepdim=True) + 1e-10).sqrt()


def dists(ours: Sequence[Tensor], theirs: Sequence[Tensor], alpha: Sequence[Tensor], beta: Sequence[Tensor]) -> Tensor:
    """DISTS (Ding et al. 2004.07728): 1 - sum over channels of alpha * texture + beta * structure, with

        texture    (2 m n + c) / (m^2 + n^2 + c)           of the means of a channel
        structure  (2 cov + c) / (var + var' + c)          over all positions

    Args:
        ours, theirs: the image itself, and its features after the activation, each N x C x h x w.
        alpha, beta: weights of the channels of each, which sum up to 1 together.

    Returns:
        N distances, 0 for equal images.
    """
    total = ours[0].new_ones(())
    for x, y, a, b in zip(ours, theirs, alpha, beta, strict=True):
        m, n = x.mean((2, 3)), y.mean((2, 3))
        of_x, of_y = (x - m[..., None, None]), (y - n[..., None, None])
        texture = (2 * m * n + C) / (m.square() + n.square() + C)
        covariance = (of_x * of_y).mean((2, 3))
        structure = (2 * covariance + C) / (of_x.square().mean((2, 3)) + of_y.square().mean((2, 3)) + C)
        total = total - (a * texture + b * structure).sum(1)
    return total


def even_weights(widths: Sequence[int]) -> list[Tensor]:
    """Weights for `dists` that no one has fitted: the same for texture and structure, each layer, and each channel."""
    return [torch.full((width,), 0.5 / len(widths) / width) for width in widths]
