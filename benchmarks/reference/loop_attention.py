"""The published networks' attention, written the straightforward way: a Python loop over overlapping windows.

Written from the description in the specification (1.2.3), to check and to time the batched attention of
`paragonsr.archs.attention` against. `use_loops(network)` puts it into a network that was built with the published
options; weights and outputs stay the same.
"""

import torch
from torch import Tensor, nn

from paragonsr.archs.attention import OverlappingAttention


class LoopAttention(nn.Module):
    """Same tensors and same result as `OverlappingAttention`, one window at a time."""

    def __init__(self, batched: OverlappingAttention) -> None:
        super().__init__()
        self.window = batched.window
        self.gamma, self.query, self.key, self.value = batched.gamma, batched.query, batched.key, batched.value

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        height, width = x.shape[-2:]
        if height <= self.window and width <= self.window:
            return x + self.gamma * self._attend(x)
        rows, columns = _windows(height, self.window), _windows(width, self.window)
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


def _windows(size: int, window: int) -> list[tuple[int, int, Tensor]]:
    """Start, end and blending weights of the windows along one axis."""
    overlap = min(8, window // 4, size // 4)
    stride = window - overlap
    spans = []
    for i in range((size + overlap - 1) // stride):
        start, end = i * stride, min(i * stride + window, size)
        ramp = torch.ones(end - start)
        if overlap and start > 0:
            ramp[:overlap] *= torch.linspace(0, 1, overlap)
        if overlap and end < size:
            ramp[-overlap:] *= torch.linspace(1, 0, overlap)
        spans.append((start, end, ramp))
    return spans


def use_loops(network: nn.Module) -> nn.Module:
    """Replace every batched overlapping attention in `network` by the loop; returns `network`."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, OverlappingAttention):
                setattr(parent, name, LoopAttention(child))
    return network
