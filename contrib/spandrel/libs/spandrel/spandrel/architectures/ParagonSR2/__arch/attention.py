"""Window attention without a Python loop over windows, for both families.

Every variant here ends in one batched attention over all windows of all samples. Three properties of
`scaled_dot_product_attention` shape the code (measured on CPU, torch 2.13):

* Its fast path needs equal widths of keys and values; a key width of 1 with a value width of 14 falls back to a path
  that is five times slower. So queries, keys and values are padded with zeros to one width, and the scale is passed
  explicitly.
* A mask of tokens x tokens per window costs more memory than the attention itself. So a few extra key channels encode
  which token may see which (`regions`): this is exact, and free because the padding is needed anyway.
* If values are much wider than keys (S: 96 and 12), its bf16 kernel on a CPU is half as fast, forward and backward, as
  the three plain operations, because the padding costs time and oneDNN's products are fast. Training uses those there.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FORBIDDEN = -1000.0
"""Value added to the logit of a forbidden pair: its exp is 0 in every floating-point type, and it is finite in fp16."""


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float, regions: Tensor | None = None) -> Tensor:
    """softmax(scale * query key^T) value, within windows and, if given, within regions of them.

    Args:
        query, key: (windows, heads, tokens, key width).
        value: (windows, heads, tokens, value width).
        scale: factor of the logits.
        regions: (windows, 1, tokens, r) one-hot label of each token; a token sees only tokens with its own label, and
            tokens without a label (all zero: padding) are not seen at all.

    Returns:
        (windows, heads, tokens, value width).
    """
    if regions is not None:
        labels = regions.to(query.dtype).expand(-1, query.shape[1], -1, -1)
        query = torch.cat([query, labels], -1)
        key = torch.cat([key, (1 - labels) * (FORBIDDEN / scale)], -1)
    wide = value.shape[-1] >= max(64, 4 * query.shape[-1])
    if wide and query.device.type == "cpu" and torch.is_grad_enabled():
        return (scale * query @ key.transpose(-1, -2)).softmax(-1) @ value
    width = math.ceil(max(query.shape[-1], value.shape[-1]) / 8) * 8
    query, key, padded = (F.pad(t, (0, width - t.shape[-1])) for t in (query, key, value))
    return F.scaled_dot_product_attention(query, key, padded, scale=scale)[..., : value.shape[-1]]


class WindowGrid:
    """Partitions (N, C, H, W) into windows that cover every pixel, and merges them again.

    The grid starts at the top left corner of the image or, with `shift`, `shift` pixels below and to the right of it,
    as in Swin (2103.14030). The image is zero-padded to whole windows; `regions` hides the padding, and separates the
    parts that the cyclic shift has brought together from opposite borders.
    """

    def __init__(self, height: int, width: int, window: int, shift: int) -> None:
        self.size, self.window, self.shift = (height, width), window, shift
        # No negative numbers are divided: ONNX rounds quotients towards zero, Python rounds down.
        self.rows, self.columns = (height + window - 1) // window, (width + window - 1) // window
        self.pad = (0, self.columns * window - width, 0, self.rows * window - height)

    def cut(self, image: Tensor) -> Tensor:
        """(N, C, H, W) -> (N * windows, window * window, C)."""
        image = F.pad(image, self.pad)
        if self.shift:
            image = image.roll((-self.shift, -self.shift), (-2, -1))
        n, c = image.shape[:2]
        grid = image.reshape(n, c, self.rows, self.window, self.columns, self.window)
        return grid.permute(0, 2, 4, 3, 5, 1).reshape(-1, self.window**2, c)

    def join(self, windows: Tensor) -> Tensor:
        """Inverse of `cut`: (N * windows, window * window, C) -> (N, C, H, W)."""
        c = windows.shape[-1]
        grid = windows.reshape(-1, self.rows, self.columns, self.window, self.window, c)
        image = grid.permute(0, 5, 1, 3, 2, 4).reshape(-1, c, self.rows * self.window, self.columns * self.window)
        if self.shift:
            image = image.roll((self.shift, self.shift), (-2, -1))
        return image[..., : self.size[0], : self.size[1]]

    def regions(self, like: Tensor) -> Tensor:
        """One-hot labels (windows, window * window, 4) that say which tokens of a window are adjacent in the image.

        A shifted window in the last row or column contains rows from both ends of the image: those above `shift` form
        one region, all others the other.
        """
        halves = [torch.arange(size, device=like.device) < self.shift for size in self.size]
        rows, columns = (torch.stack([~half, half]) for half in halves)
        labels = (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)
        return self.cut(labels.to(like.dtype)[None])


def _segments(size: int, window: int, shift: int) -> list[tuple[int, int]]:
    """Number and length of the windows along an axis, in order; the first and last may be shorter."""
    first = min(size, shift)
    whole, rest = divmod(size - first, window)
    return [(count, length) for count, length in ((1, first), (whole, window), (1, rest)) if count and length]


class ShiftedAttention(nn.Module):
    """Single-head attention in square windows that cover every pixel: `x + gamma * attention(x)`, gamma starts at 0.

    Logits are divided by the square root of the key width; odd blocks shift the grid by half a window.

    Args:
        channels: channels of the input and of the values.
        window: side of a window, in LR pixels.
        reduction: channels per key channel.
        shift: offset of the grid, in LR pixels.
        by_tokens: divide logits by the square root of the number of tokens, as published, instead of the key width.
    """

    def __init__(
        self, channels: int, *, window: int = 32, reduction: int = 8, shift: int = 0, by_tokens: bool = False
    ) -> None:
        super().__init__()
        keys = max(1, channels // reduction)
        self.window, self.shift, self.by_tokens = window, shift, by_tokens
        self.scale = 1 / window if by_tokens else keys**-0.5
        self.widths = (keys, keys, channels)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.query = nn.Conv2d(channels, keys, 1)
        self.key = nn.Conv2d(channels, keys, 1)
        self.value = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), any H and W."""
        packed = torch.cat([self.query(x), self.key(x), self.value(x)], 1)
        # An exported graph must work for every size, so it uses whole windows, masked at the border.
        attended = self.whole_windows(packed) if torch.compiler.is_compiling() else self.cut_windows(packed)
        return x + self.gamma * attended

    def whole_windows(self, packed: Tensor) -> Tensor:
        """Queries, keys and values (N, widths, H, W) -> values (N, C, H, W), all windows in one batch.

        The image is padded and rolled to whole windows, and tokens from opposite borders are masked.
        """
        grid = WindowGrid(packed.shape[-2], packed.shape[-1], self.window, self.shift)
        query, key, value = grid.cut(packed)[:, None].split(self.widths, -1)
        regions = grid.regions(packed).repeat(packed.shape[0], 1, 1)[:, None]
        return grid.join(attend(query, key, value, self.scale, regions)[:, 0])

    def cut_windows(self, packed: Tensor) -> Tensor:
        """The same, with windows that end at the border, in one batch per window size (at most nine).

        Nothing is computed that a mask would discard: little more than half the work at 64 x 64 with shifted windows
        of 32.
        """
        rows, columns = (_segments(size, self.window, self.shift) for size in packed.shape[-2:])
        lines, top = [], 0
        for row_count, height in rows:
            strip = packed[..., top : top + row_count * height, :]
            blocks, left = [], 0
            for column_count, width in columns:
                block = strip[..., left : left + column_count * width]
                blocks.append(self._blockwise(block, row_count, column_count))
                left += column_count * width
            lines.append(torch.cat(blocks, -1))
            top += row_count * height
        return torch.cat(lines, -2)

    def _blockwise(self, block: Tensor, rows: int, columns: int) -> Tensor:
        """Attend within each of the rows x columns equal windows of a block."""
        n, c, height, width = block.shape
        grid = block.reshape(n, c, rows, height // rows, columns, width // columns)
        windows = grid.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(0, 2)[:, None]
        query, key, value = windows.split(self.widths, -1)
        attended = attend(query, key, value, self.scale)[:, 0]
        grid = attended.reshape(n, rows, columns, height // rows, width // columns, -1)
        return grid.permute(0, 5, 1, 3, 2, 4).reshape(n, -1, height, width)


class OverlappingAttention(ShiftedAttention):
    """Published attention: overlapping, blended windows, which leave strips uncovered at many image sizes.

    If both sides fit into one window, it is full attention. Otherwise, for an axis of n pixels, the overlap is
    o = min(8, window / 4, n / 4), the stride is window - o, and there are (n + o - 1) // stride windows; the last one
    is cut at the border. Windows are blended with linear ramps of o pixels at inner edges. Pixels beyond the last
    window keep their input.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), any H and W; uncovered pixels pass through unchanged."""
        full = max(x.shape[-2:]) <= self.window
        rows, columns = (_Axis(n, self.window, full) for n in x.shape[-2:])
        if not rows.count * columns.count:
            return x
        packed = torch.cat([self.query(x), self.key(x), self.value(x)], 1)
        packed = F.pad(packed, (0, columns.extent - x.shape[-1], 0, rows.extent - x.shape[-2]))
        windows = packed.unfold(2, rows.window, rows.stride).unfold(3, columns.window, columns.stride)
        n, c = windows.shape[:2]
        windows = windows.permute(0, 2, 3, 4, 5, 1).reshape(-1, 1, rows.window * columns.window, c)

        inside = _outer(rows.inside(x), columns.inside(x))
        query, key, value = windows.split(self.widths, -1)
        scale = self.scale
        if self.by_tokens:  # windows cut at the border have fewer tokens
            query, scale = query * inside.sum(1).rsqrt().repeat(n)[:, None, None, None], 1.0
        attended = attend(query, key, value, scale, inside.repeat(n, 1)[:, None, :, None])[:, 0]

        weight = _outer(rows.ramps(x), columns.ramps(x)).repeat(n, 1)[..., None]
        stacked = (attended * weight).reshape(n, rows.count * columns.count, -1, self.widths[2])
        stacked = stacked.permute(0, 3, 2, 1).reshape(n, -1, rows.count * columns.count)
        blended = F.fold(
            stacked,
            (rows.extent, columns.extent),
            (rows.window, columns.window),
            stride=(rows.stride, columns.stride),
        )
        total = rows.total(x)[:, None] * columns.total(x)[None] + 1e-8
        crop = (0, x.shape[-1] - columns.extent, 0, x.shape[-2] - rows.extent)
        return x + self.gamma * F.pad(blended / total, crop)


class _Axis:
    """Positions of the published windows along one axis of the image."""

    def __init__(self, size: int, window: int, full: bool) -> None:
        self.size = size
        self.window = size if full else window
        self.overlap = 0 if full else min(8, window // 4, size // 4)
        self.stride = self.window - self.overlap
        self.count = 1 if full else (size + self.overlap - 1) // self.stride
        self.extent = (self.count - 1) * self.stride + self.window

    def inside(self, like: Tensor) -> Tensor:
        """(count, window): 1 for the pixels of each window that are inside the image."""
        starts = torch.arange(self.count, device=like.device) * self.stride
        places = starts[:, None] + torch.arange(self.window, device=like.device)
        return (places < self.size).to(like.dtype)

    def ramps(self, like: Tensor) -> Tensor:
        """(count, window): blending weights, 0 outside the image."""
        weights = self.inside(like)
        ends = (torch.arange(self.count, device=like.device) * self.stride + self.window) < self.size
        if self.overlap:
            ramp = torch.linspace(0, 1, self.overlap, device=like.device, dtype=like.dtype)
            weights[1:, : self.overlap] *= ramp
            weights[ends, -self.overlap :] *= ramp.flip(0)
        return weights

    def total(self, like: Tensor) -> Tensor:
        """(extent,): sum of all windows' weights at each pixel."""
        spread = self.ramps(like).T[None]
        return F.fold(spread, (1, self.extent), (1, self.window), stride=(1, self.stride)).flatten()


def _outer(rows: Tensor, columns: Tensor) -> Tensor:
    """(r, h) x (c, w) -> (r * c, h * w): products over all pairs of windows and pixels."""
    return torch.einsum("rh,cw->rchw", rows, columns).flatten(0, 1).flatten(1)
