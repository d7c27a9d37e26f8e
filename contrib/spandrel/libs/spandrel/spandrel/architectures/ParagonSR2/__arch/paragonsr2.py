"""The classic family: paragonsr2_nano ... paragonsr2_xl.

SR image = skip_upsampler(LR) + learned detail(LR). All learned layers up to the sub-pixel convolution work at LR size.
"""

import math

import torch
from torch import Tensor, nn

from .blocks import ContentGain, ResidualGroup, icnr_, make_attention, pixel_shuffle, published_icnr_
from .options import ClassicOptions
from .skip_upsampler import build_skip_upsampler


class SubPixelUpsampler(nn.Module):
    """3x3 convolution to scale^2 times the channels, then pixel shuffle; at scale 1 the convolution alone."""

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.up_conv = nn.Conv2d(channels, channels * scale**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, scale H, scale W)."""
        return pixel_shuffle(self.up_conv(x), self.scale)


class ParagonSR2(nn.Module):
    """Network of dual blocks; with the published options, its tensors are those of the published network.

    Args:
        options: options of one size of the classic family.
        scale: HR side / LR side.

    Attributes:
        options, scale: as given.
        receptive_field: LR pixels around a pixel that its SR pixels depend on; None for the whole image.
        grid: the origin of a tile, in LR pixels, must be a multiple of this for exact tiling.
    """

    def __init__(self, options: ClassicOptions, scale: int) -> None:
        super().__init__()
        self.options, self.scale = options, scale
        channels = options.num_feat
        groups, blocks = options.body_size
        if options.use_content_aware:
            self.content_processor = ContentGain(options)
        self.conv_in = nn.Conv2d(3, channels, 3, padding=1)
        self.stem_activation = nn.LeakyReLU(0.1) if options.activations == "more" else nn.Identity()
        self.body = nn.Sequential(*(ResidualGroup(options, g * blocks, blocks) for g in range(groups)))
        self.conv_fuse = nn.Conv2d(channels, channels, 3, padding=1)
        self.upsampler_net = SubPixelUpsampler(channels, scale)
        self.conv_out = nn.Conv2d(channels, 3, 3, padding=1)
        self.magic_upsampler = build_skip_upsampler(
            options.skip_upsampler, scale, options.upsampler_alpha, options.skip_padding, naming="classic"
        )
        self._initialise()
        block = options.band // 2 + 1 if options.band > 3 else 2
        if options.use_attention:
            block += options.attention_window - 1
        if options.use_channel_mod:
            block += options.pool_window
        detail = 1 + groups * blocks * block + 1 + 1 + 1
        self.receptive_field = _receptive_field(options, detail, self.magic_upsampler.radius)
        self.grid = _grid(options)

    def _initialise(self) -> None:
        init = icnr_ if self.options.subpixel_init == "icnr" else published_icnr_
        init(self.upsampler_net.up_conv.weight, self.scale)
        with torch.no_grad():
            self.conv_out.weight *= self.options.detail_gain
        for layer in (self.upsampler_net.up_conv, self.conv_out):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 3, scale H, scale W), not clamped."""
        body = self.body(self.stem_activation(self.conv_in(x)))
        detail: Tensor = self.conv_out(self.upsampler_net(self.conv_fuse(body) + body))
        if self.options.use_content_aware:
            detail = _amplify(detail, self.content_processor(x), self.scale)
        skip: Tensor = self.magic_upsampler(x)
        return skip + detail


LUMA = (torch.tensor([65.481, 128.553, 24.966], device="cpu") / 219).view(1, 3, 1, 1)
"""Weights of red, green and blue in luma (BT.601), which sum to 1."""
DEEP = 6
"""Number of convolutions from which a compact body needs He initialisation (1502.01852) for its signal to get through.
Compared with PyTorch's: 36.47 against 35.12 dB in s (10 convolutions, Set5 x2, 100 s of training), +0.06 dB in xs (8),
but -0.12 dB in nano (3)."""


class CompactParagonSR2(nn.Module):
    """Plain 3x3 convolutions with PReLU at LR size; the last one directly makes the sub-pixels of the detail.

    At nano's size, hidden convolutions are the best use of parameters: the published nano, which has a single
    activation, is 1.2 dB behind five such convolutions of the same size (Set5 x2). Arguments and attributes are those
    of `ParagonSR2`.
    """

    luma: Tensor

    def __init__(self, options: ClassicOptions, scale: int) -> None:
        super().__init__()
        self.options, self.scale = options, scale
        channels = options.num_feat
        if options.use_content_aware:
            self.content_processor = ContentGain(options)
        colours = 1 if options.luma_body else 3
        self.register_buffer("luma", LUMA.clone(), persistent=False)
        self.conv_in = nn.Conv2d(colours, channels, 3, padding=1)
        self.act_in = nn.PReLU(channels)
        layers: list[nn.Module] = []
        for _ in range(options.num_blocks):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU(channels)]
        self.hidden = nn.Sequential(*layers)
        self.attention = make_attention(channels, options, 0)
        self.conv_out = nn.Conv2d(channels, colours * scale**2, 3, padding=1)
        self.base = build_skip_upsampler(
            options.skip_upsampler, scale, options.upsampler_alpha, options.skip_padding, naming="classic"
        )
        self._initialise()
        detail = 1 + options.num_blocks + 1 + (options.attention_window - 1 if options.use_attention else 0)
        self.receptive_field = _receptive_field(options, detail, self.base.radius)
        self.grid = _grid(options)

    def _initialise(self) -> None:
        if self.options.num_blocks >= DEEP:
            for layer in self.hidden:
                if isinstance(layer, nn.Conv2d):
                    assert layer.bias is not None
                    nn.init.kaiming_normal_(layer.weight, a=0.25)  # PReLU's initial slope
                    nn.init.zeros_(layer.bias)
        init = icnr_ if self.options.subpixel_init == "icnr" else published_icnr_
        init(self.conv_out.weight, self.scale)
        with torch.no_grad():
            self.conv_out.weight *= self.options.detail_gain
        assert self.conv_out.bias is not None
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 3, scale H, scale W), not clamped."""
        seen = (x * self.luma.to(x.dtype)).sum(1, keepdim=True) if self.options.luma_body else x
        stem = self.act_in(self.conv_in(seen))
        features = self.attention(self.hidden(stem) + stem)
        detail = pixel_shuffle(self.conv_out(features), self.scale)
        if self.options.use_content_aware:
            detail = _amplify(detail, self.content_processor(x), self.scale)
        skip: Tensor = self.base(x)
        return skip + detail


def build(options: ClassicOptions, *, scale: int) -> ParagonSR2 | CompactParagonSR2:
    """Build the network of the classic family described by the options."""
    return (CompactParagonSR2 if options.structure == "compact" else ParagonSR2)(options, scale)


def _amplify(detail: Tensor, gain: Tensor, scale: int) -> Tensor:
    """detail * gain, where gain has a value per LR pixel, or one along an axis."""
    sizes = [scale if size > 1 else 1 for size in gain.shape[-2:]]
    if math.prod(sizes) > 1:
        gain = gain.repeat_interleave(sizes[0], -2).repeat_interleave(sizes[1], -1)
    return detail * gain


def _receptive_field(options: ClassicOptions, detail: int, skip: int) -> int | None:
    pools = options.use_content_aware or (options.structure == "dual" and options.use_channel_mod)
    if pools and options.pooling == "global":
        return None
    if options.use_attention and options.attention_windows == "overlapping":
        return None  # the windows depend on the size of the image
    content = 6 + options.pool_window if options.use_content_aware else 0
    return max(detail, skip, content)


def _grid(options: ClassicOptions) -> int:
    return options.attention_window if options.use_attention else 1
