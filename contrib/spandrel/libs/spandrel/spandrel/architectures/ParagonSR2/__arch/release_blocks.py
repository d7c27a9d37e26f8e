"""Parts of the release family's body."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import WindowGrid, attend
from .blocks import LayerScale, LocalPool
from .options import ReleaseOptions

HALF_MAX = 65504.0
"""Largest finite fp16 number."""


class ReleaseNorm(nn.Module):
    """RMS normalisation over channels (1910.07467), statistics in fp32, with scale and bias per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        power = x.float().square().mean(1, keepdim=True)
        return self.scale * (x * torch.rsqrt(power + 1e-6).to(x.dtype)) + self.bias


def rotary_angles(window: int, width: int, like: Tensor) -> Tensor:
    """Rotation angles (window * window, width / 2) of the channel pairs: half depend on the row, half on the column.

    Axial rotary embedding, 2403.13298, base 100. If the number of pairs is odd, the extra one depends on the row.
    """
    place = torch.arange(window, device=like.device, dtype=torch.float32)
    pairs = (-(-(width // 2) // 2), width // 2 // 2)
    rows, columns = (place[:, None] * 100.0 ** (-torch.arange(n, device=like.device) / max(1, n)) for n in pairs)
    grid = (window, window, -1)
    return torch.cat([rows[:, None].expand(grid), columns[None].expand(grid)], -1).flatten(0, 1)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate the channel pairs (i, i + width / 2) of (..., tokens, width) by `angles`."""
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., : angles.shape[-1]], x[..., angles.shape[-1] : 2 * angles.shape[-1]]
    return torch.cat([a * cos - b * sin, a * sin + b * cos, x[..., 2 * angles.shape[-1] :]], -1)


class WindowAttention(nn.Module):
    """Four-headed attention in non-overlapping windows; odd blocks shift the windows by half their size."""

    heads = 4

    def __init__(self, options: ReleaseOptions, index: int) -> None:
        super().__init__()
        channels = options.num_feat
        self.window, self.shift = options.window_size, index % 2 * (options.window_size // 2)
        self.masked, self.rotary = options.window_mask, options.positions == "rotary"
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), any H and W."""
        grid = WindowGrid(x.shape[-2], x.shape[-1], self.window, self.shift)
        tokens = self.qkv(grid.cut(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = tokens.permute(2, 0, 3, 1, 4)
        if self.rotary:
            angles = rotary_angles(self.window, query.shape[-1], query)
            query, key = rotate(query, angles), rotate(key, angles)
        regions = grid.regions(x).repeat(x.shape[0], 1, 1)[:, None] if self.masked else None
        attended = attend(query, key, value, query.shape[-1] ** -0.5, regions)
        return grid.join(self.proj(attended.transpose(1, 2).flatten(2)))


class NanoBlock(nn.Module):
    """realtime: 1x1 expansion, depthwise 3x3, GELU, 1x1 projection."""

    def __init__(self, options: ReleaseOptions, index: int) -> None:
        super().__init__()
        channels = options.num_feat
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.dw = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.conv2 = nn.Conv2d(2 * channels, channels, 1)
        self.scale = LayerScale(channels, options.layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x + self.scale(self.conv2(F.gelu(self.dw(self.conv1(x)))))


class StreamBlock(nn.Module):
    """stream: two depthwise 3x3 with different dilation, fused, then a gated depthwise unit."""

    def __init__(self, options: ReleaseOptions, index: int) -> None:
        super().__init__()
        channels = options.num_feat
        self.dw1 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.dw3 = nn.Conv2d(channels, channels, 3, padding=3, dilation=3, groups=channels)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)
        self.proj = nn.Conv2d(channels, 4 * channels, 1)
        self.gate = nn.Conv2d(4 * channels, 4 * channels, 3, padding=1, groups=4 * channels)
        self.out = nn.Conv2d(2 * channels, channels, 1)
        self.scale = LayerScale(channels, options.layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        mixed = self.fuse(torch.cat([self.dw1(x), self.dw3(x)], 1))
        left, right = self.gate(self.proj(mixed)).chunk(2, 1)
        product = (left.float() * right.float()).clamp(-HALF_MAX, HALF_MAX).to(x.dtype)
        return x + self.scale(self.out(product))


class PhotoBlock(nn.Module):
    """photo: depthwise mixing, then window attention, each a scaled residual branch after a norm."""

    def __init__(self, options: ReleaseOptions, index: int) -> None:
        super().__init__()
        channels = options.num_feat
        self.norm = ReleaseNorm(channels)
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.dw = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.conv2 = nn.Conv2d(2 * channels, channels, 1)
        self.scale = LayerScale(channels, options.layer_scale)
        self.has_attention = options.has_attention
        self.own_scale = options.attention_scales == "own"
        if self.has_attention:
            self.attn_norm = ReleaseNorm(channels)
            self.attn = WindowAttention(options, index)
            if self.own_scale:
                self.attn_scale = LayerScale(channels, options.layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        x = x + self.scale(self.conv2(F.gelu(self.dw(self.conv1(self.norm(x))))))
        if self.has_attention:
            scale = self.attn_scale if self.own_scale else self.scale
            x = x + scale(self.attn(self.attn_norm(x)))
        return x


class ChannelAttention(nn.Module):
    """Squeeze and excitation (1709.01507) with linear layers."""

    def __init__(self, options: ReleaseOptions) -> None:
        super().__init__()
        channels = options.num_feat
        squeezed = max(1, channels // 16)
        self.pool = LocalPool(options.pool_window) if options.pooling == "local" else nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channels, squeezed, bias=False),
            nn.GELU(),
            nn.Linear(squeezed, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        weights = self.fc(self.pool(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x * weights


class TokenAttention(nn.Module):
    """Each pixel attends to a trained dictionary of 64 tokens."""

    tokens, keys = 64, 16

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.token_dict = nn.Parameter(torch.randn(1, self.tokens, channels) * 0.02)
        self.q_proj = nn.Linear(channels, self.keys)
        self.k_proj = nn.Linear(channels, self.keys)
        self.v_proj = nn.Linear(channels, channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        pixels = x.permute(0, 2, 3, 1)
        logits = self.q_proj(pixels) @ self.k_proj(self.token_dict[0]).T * self.keys**-0.5
        return self.out_proj(logits.softmax(-1) @ self.v_proj(self.token_dict[0])).permute(0, 3, 1, 2)


class ProBlock(nn.Module):
    """pro: depthwise mixing, channel attention, window attention, token dictionary."""

    def __init__(self, options: ReleaseOptions, index: int) -> None:
        super().__init__()
        channels, start = options.num_feat, options.layer_scale
        self.norm1 = ReleaseNorm(channels)
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.dw = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.conv2 = nn.Conv2d(2 * channels, channels, 1)
        self.scale1 = LayerScale(channels, start)
        self.channel_attn = ChannelAttention(options)
        self.scale2 = LayerScale(channels, start)
        self.has_attention = options.has_attention
        if self.has_attention:
            self.norm3 = ReleaseNorm(channels)
            self.window_attn = WindowAttention(options, index)
            self.scale3 = LayerScale(channels, start)
        self.norm4 = ReleaseNorm(channels)
        self.token_ca = TokenAttention(channels)
        self.scale4 = LayerScale(channels, start)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        x = x + self.scale1(self.conv2(F.gelu(self.dw(self.conv1(self.norm1(x))))))
        x = x + self.scale2(self.channel_attn(x))
        if self.has_attention:
            x = x + self.scale3(self.window_attn(self.norm3(x)))
        return x + self.scale4(self.token_ca(self.norm4(x)))


BLOCKS: dict[str, type[nn.Module]] = {
    "nano": NanoBlock,
    "stream": StreamBlock,
    "photo": PhotoBlock,
    "pro": ProBlock,
}
