"""The release family: paragonsr2_realtime, _stream, _photo, _pro."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .release_blocks import BLOCKS
from .options import ReleaseOptions
from .skip_upsampler import build_skip_upsampler

CONV_REACH = {"nano": 1, "stream": 4, "photo": 1, "pro": 1}
"""Reach of the convolutions of one block, in LR pixels."""


class BlockGroup(nn.Module):
    """Sequence of blocks; a group only affects the names of tensors."""

    def __init__(self, options: ReleaseOptions, first: int) -> None:
        super().__init__()
        block = BLOCKS[options.block]
        self.blocks = nn.ModuleList(block(options, first + i) for i in range(options.num_blocks))
        self.recompute = options.use_checkpointing

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.recompute and self.training else block(x)
        return x


class ParagonSR2Release(nn.Module):
    """SR image = skip_upsampler(LR) + detail_gain * detail(LR); tensors as published.

    Args:
        options: options of one network of the release family.
        scale: HR side / LR side.

    Attributes:
        options, scale: as given.
        receptive_field: LR pixels around a pixel that its SR pixels depend on; None for the whole image.
        grid: the origin of a tile, in LR pixels, must be a multiple of this for exact tiling.
    """

    def __init__(self, options: ReleaseOptions, scale: int) -> None:
        super().__init__()
        self.options, self.scale = options, scale
        channels = options.num_feat
        self.detail_gain = nn.Parameter(torch.tensor(options.detail_gain))
        self.base = build_skip_upsampler(
            options.skip_upsampler, scale, options.upsampler_alpha, options.skip_padding, naming="release"
        )
        self.conv_in = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*(BlockGroup(options, g * options.num_blocks) for g in range(options.num_groups)))
        self.conv_mid = nn.Conv2d(channels, channels, 3, padding=1)
        self.up = nn.Sequential(nn.Conv2d(channels, channels * scale**2, 3, padding=1))
        if scale > 1:
            self.up.append(nn.PixelShuffle(scale))
        self.conv_out = nn.Conv2d(channels, 3, 3, padding=1)
        self.receptive_field = self._receptive_field()
        windows = options.block in ("photo", "pro") and options.has_attention
        self.grid = options.window_size if windows else 1

    def _receptive_field(self) -> int | None:
        options = self.options
        block = CONV_REACH[options.block]
        if options.block in ("photo", "pro") and options.has_attention:
            if not options.window_mask:
                return None  # the published shift brings opposite borders together
            block += options.window_size - 1
        if options.block == "pro":
            if options.pooling == "global":
                return None
            block += options.pool_window
        return max(1 + options.num_groups * options.num_blocks * block + 1 + 1 + 1, self.base.radius)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 3, scale H, scale W), not clamped."""
        detail: Tensor = self.conv_out(self.up(self.conv_mid(self.body(self.conv_in(x)))))
        skip: Tensor = self.base(x)
        return skip + self.detail_gain * detail


def build(options: ReleaseOptions, *, scale: int) -> ParagonSR2Release:
    """Build the network of the release family described by the options."""
    return ParagonSR2Release(options, scale)
