"""Parts of the classic family's body and head."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import OverlappingAttention, ShiftedAttention
from .options import ClassicOptions


class RMSNorm(nn.Module):
    """Divides each pixel by the root mean square of its channels (1910.07467), then scales and offsets per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.offset = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W); statistics in fp32."""
        rms = torch.linalg.vector_norm(x.float(), dim=1, keepdim=True) * x.shape[1] ** -0.5
        return (x / (rms + 1e-6)).to(x.dtype) * self.scale + self.offset


class LayerScale(nn.Module):
    """Trained factor per channel (2103.17239)."""

    def __init__(self, channels: int, start: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((1, channels, 1, 1), start))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x * self.gamma


class LocalPool(nn.Module):
    """Mean over the window x window neighbourhood of each pixel, computed by running sums (TLC, 2112.04491).

    Near a border the window is moved inward; an axis shorter than the window is averaged as a whole. So a training
    patch no larger than the window is averaged as a whole, and images of any size have the same statistics.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), with size 1 along axes that are averaged as a whole (never in an export)."""
        kind = x.dtype
        x = x.to(torch.promote_types(kind, torch.float32))  # running sums need the precision
        for axis in (-2, -1):
            size = x.shape[axis]
            if not torch.compiler.is_exporting() and size <= self.window:
                x = x.mean(axis, keepdim=True)
                continue
            window = torch.sym_min(size, self.window)
            sums = F.pad(x.cumsum(axis), (1, 0) if axis == -1 else (0, 0, 1, 0))
            starts = (torch.arange(size, device=x.device) - self.window // 2).clamp(min=0).clamp(max=size - window)
            x = (sums.index_select(axis, starts + window) - sums.index_select(axis, starts)) / window
        return x.to(kind)


def make_pool(options: ClassicOptions) -> nn.Module:
    """Build the pooling selected by the options; global pooling gives (N, C, 1, 1)."""
    return LocalPool(options.pool_window) if options.pooling == "local" else nn.AdaptiveAvgPool2d(1)


def make_attention(channels: int, options: ClassicOptions, index: int) -> nn.Module:
    """Build the window attention selected by the options; `index` is the block's number in the network."""
    if not options.use_attention:
        return nn.Identity()
    window, by_tokens = options.attention_window, options.attention_scale == "tokens"
    if options.attention_windows == "overlapping":
        return OverlappingAttention(channels, window=window, by_tokens=by_tokens)
    return ShiftedAttention(channels, window=window, shift=index % 2 * (window // 2), by_tokens=by_tokens)


class BandContext(nn.Module):
    """Depthwise 3x3, 1xK and Kx1, each on an eighth of the channels (InceptionNeXt, 2303.16900); the rest passes."""

    def __init__(self, channels: int, band: int) -> None:
        super().__init__()
        part = max(1, channels // 8)
        self.split = (channels - 3 * part, part, part, part)
        self.dwconv_hw = nn.Conv2d(part, part, 3, padding=1, groups=part)
        self.dwconv_w = nn.Conv2d(part, part, (1, band), padding=(0, band // 2), groups=part)
        self.dwconv_h = nn.Conv2d(part, part, (band, 1), padding=(band // 2, 0), groups=part)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        same, square, row, column = x.split(self.split, 1)
        return torch.cat([same, self.dwconv_hw(square), self.dwconv_w(row), self.dwconv_h(column)], 1)


class ChannelModulation(nn.Module):
    """Squeeze and excitation (1709.01507): scales channels by a function of their means."""

    def __init__(self, channels: int, options: ClassicOptions) -> None:
        super().__init__()
        squeezed = max(1, channels // 4)
        self.net = nn.Sequential(
            make_pool(options),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x * self.net(x)


class DepthwiseTransformer(nn.Module):
    """1x1 expansion, depthwise 3x3, 1x1 mix, optional attention and channel modulation, 1x1 projection back."""

    def __init__(self, options: ClassicOptions, index: int) -> None:
        super().__init__()
        channels = options.num_feat
        hidden = int(channels * options.expansion)
        self.project_in = nn.Conv2d(channels, hidden, 1)
        mixer: list[nn.Module] = [
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(hidden, hidden, 1),
        ]
        if options.activations == "more":
            mixer.append(nn.LeakyReLU(0.1, inplace=True))
        self.dw_mixer = nn.Sequential(*mixer)
        self.channel_mod = ChannelModulation(hidden, options) if options.use_channel_mod else nn.Identity()
        self.attention = make_attention(hidden, options, index)
        self.project_out = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        x = self.attention(self.dw_mixer(self.project_in(x)))
        projected: Tensor = self.project_out(self.channel_mod(x))
        return projected


class PublishedBlock(nn.Module):
    """x + ls1 context(x), then x + ls2 transformer(x), then the norm, on the residual stream itself."""

    def __init__(self, options: ClassicOptions, index: int) -> None:
        super().__init__()
        channels = options.num_feat
        self.context = BandContext(channels, options.band)
        self.ls1 = LayerScale(channels, options.layer_scale)
        self.transformer = DepthwiseTransformer(options, index)
        self.ls2 = LayerScale(channels, options.layer_scale)
        self.norm = RMSNorm(channels) if options.use_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        x = x + self.ls1(self.context(x))
        x = x + self.ls2(self.transformer(x))
        normed: Tensor = self.norm(x)
        return normed


class DualBlock(PublishedBlock):
    """The same branches, with the norm before the transformer, so that a new block is nearly the identity."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        x = x + self.ls1(self.context(x))
        return x + self.ls2(self.transformer(self.norm(x)))


class ResidualGroup(nn.Module):
    """Blocks with a skip connection around them."""

    def __init__(self, options: ClassicOptions, first: int, blocks: int) -> None:
        super().__init__()
        block = DualBlock if options.norm_position == "before" else PublishedBlock
        self.blocks = nn.Sequential(*(block(options, first + i) for i in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        inner: Tensor = self.blocks(x)
        return inner + x


class ContentGain(nn.Module):
    """Gain on the detail, estimated from the LR image by a small convolutional network, pooling and a sigmoid.

    The range of around_one is (0.5, 1.5), starting at 1; that of published is (0.05, 0.2). A range that includes 0 does
    not train: while the detail is still noise, the first steps drive the gain, and thus every gradient, to 0 (measured
    on S).
    """

    def __init__(self, options: ClassicOptions) -> None:
        super().__init__()
        half, quarter = max(1, options.num_feat // 2), max(1, options.num_feat // 4)
        self.around_one = options.content_gain == "around_one"
        self.content_analyzer = nn.Sequential(
            nn.Conv2d(3, quarter, 3, padding=1),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(quarter, half, 5, padding=2),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(half, half, 7, padding=3),
            nn.LeakyReLU(0.1, inplace=True),
            make_pool(options),
            nn.Conv2d(half, 1, 1),
            nn.Sigmoid(),
        )
        if self.around_one:
            last = self.content_analyzer[7]
            assert isinstance(last, nn.Conv2d)
            assert last.bias is not None
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1, H or 1, W or 1)."""
        content: Tensor = self.content_analyzer(x)
        return 1.5 - content if self.around_one else 0.05 + 0.15 * (1 - content)


def pixel_shuffle(x: Tensor, scale: int) -> Tensor:
    """(N, C scale^2, H, W) -> (N, C, scale H, scale W); at scale 1 x itself, so that a graph has no empty step."""
    return x if scale == 1 else F.pixel_shuffle(x, scale)


def icnr_(weight: Tensor, scale: int) -> None:
    """Initialise a sub-pixel convolution so that the scale^2 sub-pixels of each channel are equal (1707.02937).

    `pixel_shuffle` reads channel c scale^2 + k as sub-pixel k of channel c, so each filter is repeated scale^2 times.
    """
    with torch.no_grad():
        small = torch.empty(weight.shape[0] // scale**2, *weight.shape[1:])
        nn.init.kaiming_normal_(small)
        weight.copy_(small.repeat_interleave(scale**2, 0))


def published_icnr_(weight: Tensor, scale: int) -> None:
    """Published initialisation, whose sub-pixels are not equal: the small filters are tiled in the wrong order."""
    with torch.no_grad():
        small = torch.empty(weight.shape[0] // scale**2, *weight.shape[1:])
        nn.init.kaiming_normal_(small)
        tiled = small.repeat(1, 1, scale, scale)  # over the two spatial axes, then reshaped into the channel axis
        weight.copy_(tiled.reshape(weight.shape))
