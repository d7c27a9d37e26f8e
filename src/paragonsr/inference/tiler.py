"""THE tiler: every upscaling, in validation, on the command line and in checks, goes through `upscale`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from paragonsr.inference.memory import is_out_of_memory, release

BLEND = 4
"""Half width of the band in which neighbouring tiles fade into each other, in LR pixels."""
SMALLEST = 4 * BLEND


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in LR pixels."""

    start: int
    """Of the core: the cores of all tiles partition the axis."""
    stop: int
    fed_start: int
    """Of what the network sees: the core, the band it is blended over, and the context around both."""
    fed_stop: int
    size: int
    """Length of the whole axis."""

    def ramp(self, band: int, scale: int) -> Tensor:
        """Weight of each fed HR pixel: 1 in the core, linear over 2 `band` at inner edges, 0 in the context.

        The weights of all tiles add up to 1 at every pixel, at the image's border too.
        """
        position = (torch.arange(self.fed_start * scale, self.fed_stop * scale) + 0.5) / scale
        weight = torch.ones_like(position)
        if band:
            if self.start > 0:
                weight = weight.minimum((position - (self.start - band)) / (2 * band))
            if self.stop < self.size:
                weight = weight.minimum(((self.stop + band) - position) / (2 * band))
            return weight.clamp_(0, 1)
        inside = (position > self.start) & (position < self.stop)
        return inside.to(weight.dtype)


def spans(size: int, tile: int, overlap: int, band: int) -> Iterator[Span]:
    """Cut an axis of `size` LR pixels into about equal cores of at most `tile`."""
    count = -(-size // tile)
    for index in range(count):
        start, stop = index * size // count, (index + 1) * size // count
        margin = overlap + band
        yield Span(start, stop, max(0, start - margin), min(size, stop + margin), size)


@torch.inference_mode()
def upscale(
    network: Callable[[Tensor], Tensor], lr_images: Tensor, scale: int, *, tile: int = 0, overlap: int = 16
) -> Tensor:
    """Upscale images, whole or in tiles.

    With an overlap of at least the network's receptive field (radius, in LR pixels) the result is the untiled one to
    rounding; with less, neighbouring tiles fade into each other over 8 LR pixels. Where memory runs out, the tile is
    halved and the image is done again.

    Args:
        network: maps N x C x h x w to N x C x scale h x scale w.
        lr_images: N x C x h x w.
        scale: enlargement.
        tile: largest side of a tile's core, in LR pixels; 0 takes the image whole.
        overlap: context around a tile, in LR pixels.

    Returns:
        N x C x scale h x scale w, the type that the network gives.
    """
    height, width = lr_images.shape[-2:]
    tile = tile or max(height, width)
    while True:
        try:
            return _upscale(network, lr_images, scale, max(tile, SMALLEST), overlap)
        except (RuntimeError, MemoryError) as error:
            if tile <= SMALLEST or not is_out_of_memory(error):
                raise
        # Outside of the handler, which would keep the failed attempt's tensors alive.
        release(lr_images.device)
        tile = min(tile, max(height, width)) // 2


def _upscale(network: Callable[[Tensor], Tensor], lr_images: Tensor, scale: int, tile: int, overlap: int) -> Tensor:
    count, _, height, width = lr_images.shape
    if max(height, width) <= tile:
        return network(lr_images)
    band = min(BLEND, overlap)
    out: Tensor | None = None
    for row in spans(height, tile, overlap, band):
        for column in spans(width, tile, overlap, band):
            fed = lr_images[..., row.fed_start : row.fed_stop, column.fed_start : column.fed_stop]
            sr = network(fed)
            if out is None:
                out = sr.new_zeros(count, sr.shape[1], height * scale, width * scale)
            weight = row.ramp(band, scale)[:, None] * column.ramp(band, scale)[None, :]
            here = out[
                ...,
                row.fed_start * scale : row.fed_stop * scale,
                column.fed_start * scale : column.fed_stop * scale,
            ]
            here.add_(sr * weight.to(sr))
    assert out is not None
    return out
