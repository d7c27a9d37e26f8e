"""Attention of the published networks in its straightforward form: a Python loop over overlapping windows.

Reference for the output and the speed of the batched attention in `paragonsr.archs.attention`. `use_loops(network)`
puts it into a network built with the published options; weights and outputs stay the same.
"""

import torch
from torch import Tensor, nn

from paragonsr.archs.attention import OverlappingAttention


class LoopAttention(nn.Module):
    """Same tensors and same result as `OverlappingAttention`, one window at a time.

    With `cover`, there are enough windows to cover the image, unlike in the published code; the last is moved inward.
    """

    def __init__(self, batched: OverlappingAttention, *, cover: bool = False) -> None:
        super().__init__()
        self.window, self.cover = batched.window, cover
        self.gamma, self.query, self.key, self.value = batched.gamma, batched.query, batched.key, batched.value

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        height, width = x.shape[-2:]
        if height <= self.window and width <= self.window:
            return x + self.gamma * self._attend(x)
        rows, columns = (_windows(size, self.window, self.cover) for size in (height, width))
        result, total = torch.zeros_like(x), torch.zeros_like(x[:1, :1])
        for top, bottom, row_ramp in rows:
            for left, right, column_ramp in columns:
                weight = row_ramp[:, None] * column_ramp[None]
                result[..., top:bottom, left:right] += weight * self._attend(x[..., top:bottom, left:right])
                total[..., top:bottom, left:right] += weight
        return x + self.gamma * (result / (total + 1e-8))

    def _attend(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        logits = torch.bmm(query.transpose(1, 2), key) / (x.shape[-2] * x.shape[-1]) ** 0.5
        return torch.bmm(value, logits.softmax(-1).transpose(1, 2)).view_as(x)


def _windows(size: int, window: int, cover: bool) -> list[tuple[int, int, Tensor]]:
    """Start, end and blending weights of the windows along one axis."""
    overlap = min(8, window // 4, size // 4)
    stride = window - overlap
    starts = [i * stride for i in range((size + overlap - 1) // stride)]
    if cover:
        starts = [min(start, max(0, size - window)) for start in range(0, max(1, size - overlap), stride)]
    spans = []
    for start in starts:
        end = min(start + window, size)
        ramp = torch.ones(end - start)
        if overlap and start > 0:
            ramp[:overlap] *= torch.linspace(0, 1, overlap)
        if overlap and end < size:
            ramp[-overlap:] *= torch.linspace(1, 0, overlap)
        spans.append((start, end, ramp))
    return spans


def use_loops(network: nn.Module, *, cover: bool = False) -> nn.Module:
    """Replace every batched overlapping attention in `network` by the loop; returns `network`."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, OverlappingAttention):
                setattr(parent, name, LoopAttention(child, cover=cover))
    return network
