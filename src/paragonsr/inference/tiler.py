"""Tiler: all upscaling (validation, command line, checks) goes through `strips`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from paragonsr.inference.memory import is_out_of_memory, release

BLEND = 4
"""Half the width of the band in which neighbouring tiles are blended, in LR pixels."""
SMALLEST = 4 * BLEND
"""Smallest tile: cores of half its side must hold the bands of two neighbours."""

T = TypeVar("T")


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in LR pixels."""

    start: int
    """Start of the core; the cores of all tiles partition the axis."""
    stop: int
    fed_start: int
    """Start of the network's input: the core, the band it is blended over, and the context around both."""
    fed_stop: int
    size: int
    """Length of the whole axis."""

    def ramp(self, band: int, scale: int) -> Tensor:
        """Weight of each HR pixel of the output: 1 in the core, linear over 2 `band` at inner edges, 0 in the context.

        The weights of all tiles add up to 1 at every pixel, including the border of the image.
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


def spans(size: int, tile: int, overlap: int, band: int, grid: int) -> Iterator[Span]:
    """Split an axis of `size` LR pixels into roughly equal cores of at most `tile`; network inputs lie on the grid."""
    count, margin = -(-size // tile), overlap + band
    for index in range(count):
        start, stop = index * size // count, (index + 1) * size // count
        first, last = (start - margin) // grid * grid, -(-(stop + margin) // grid) * grid
        yield Span(start, stop, max(0, first), min(size, last), size)


def strips(
    network: Callable[[Tensor], Tensor],
    read: Callable[[slice, slice], Tensor],
    height: int,
    width: int,
    scale: int,
    *,
    tile: int,
    overlap: int,
    grid: int = 1,
) -> Iterator[tuple[int, Tensor]]:
    """Upscale images of any size in finished strips of rows, from top to bottom.

    With an overlap of at least the network's receptive field (radius, in LR pixels), the result equals the untiled one
    up to rounding; with less, neighbouring tiles are blended over 8 LR pixels.

    Args:
        network: maps N x C x h x w to N x C x scale h x scale w.
        read: returns N x C x h x w of the LR images for a slice of rows and a slice of columns.
        height: height of the LR images.
        width: width of the LR images.
        scale: HR side / LR side.
        tile: largest side of a tile's core, in LR pixels.
        overlap: context around a tile, in LR pixels, at least.
        grid: the origin of each network input is a multiple of this, in LR pixels, as attention windows require.

    Yields:
        the first HR row of the strip, and the strip: N x C x rows x scale width, in the network's output dtype.
    """
    tile = max(tile, SMALLEST)
    if max(height, width) <= tile:
        yield 0, network(read(slice(0, height), slice(0, width)))
        return
    band = min(BLEND, overlap)
    begun: Tensor | None = None  # the rows that are blended with the next row of tiles
    for row in spans(height, tile, overlap, band, grid):
        first, end = max(0, row.start - band), min(height, row.stop + band)
        within = slice((first - row.fed_start) * scale, (end - row.fed_start) * scale)
        fade = row.ramp(band, scale)[within, None]
        strip: Tensor | None = None
        for column in spans(width, tile, overlap, band, grid):
            sr = network(read(slice(row.fed_start, row.fed_stop), slice(column.fed_start, column.fed_stop)))
            if strip is None:
                strip = sr.new_zeros(*sr.shape[:2], (end - first) * scale, width * scale)
            here = strip[..., column.fed_start * scale : column.fed_stop * scale]
            here.add_(sr[..., within, :] * (fade * column.ramp(band, scale)[None, :]).to(sr))
        assert strip is not None
        if begun is not None:
            strip[..., : begun.shape[-2], :].add_(begun)
        done = ((row.stop - band if row.stop < height else height) - first) * scale
        yield first * scale, strip[..., :done, :]
        begun = strip[..., done:, :]


def retry_on_oom(attempt: Callable[[int], T], tile: int, device: torch.device) -> T:
    """Call with the side of a tile; halve it and retry as long as memory runs out."""
    while True:
        try:
            return attempt(tile)
        except (RuntimeError, MemoryError) as error:
            if tile <= SMALLEST or not is_out_of_memory(error):
                raise
        # Outside the except block, which would keep the tensors of the failed attempt alive.
        release(device)
        tile //= 2


@torch.inference_mode()
def upscale(
    network: Callable[[Tensor], Tensor],
    lr_images: Tensor,
    scale: int,
    *,
    tile: int = 0,
    overlap: int = 16,
    grid: int = 1,
) -> Tensor:
    """Upscale images in memory, whole or in tiles (see `strips`). If memory runs out, the tile is halved.

    Args:
        network: maps N x C x h x w to N x C x scale h x scale w.
        lr_images: N x C x h x w.
        scale: HR side / LR side.
        tile: maximum side of a tile's core, in LR pixels; 0 processes the image as a whole.
        overlap: context around a tile, in LR pixels, at least.
        grid: as in `strips`.

    Returns:
        N x C x scale h x scale w, in the network's output dtype.
    """
    height, width = lr_images.shape[-2:]
    largest = max(height, width)

    def attempt(side: int) -> Tensor:
        out: Tensor | None = None
        for top, rows in strips(
            network, lambda y, x: lr_images[..., y, x], height, width, scale, tile=side, overlap=overlap, grid=grid
        ):
            if rows.shape[-2] == height * scale:
                return rows
            if out is None:
                out = rows.new_empty(*rows.shape[:2], height * scale, width * scale)
            out[..., top : top + rows.shape[-2], :] = rows
        assert out is not None
        return out

    return retry_on_oom(attempt, min(tile or largest, largest), lr_images.device)
