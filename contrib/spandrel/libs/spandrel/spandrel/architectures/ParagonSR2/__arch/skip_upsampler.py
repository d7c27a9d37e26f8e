"""Skip upsamplers: the fixed upscaling that the learned detail is added to.

`PhaseUpsampler` is the default: every output phase of a separable interpolation kernel is a filter at LR size, and
the sub-pixels are interleaved at the end. Measured on Set5 (MATLAB bicubic LR, PSNR-Y x2 / x3 / x4 / x8): bicubic
33.68 / 30.40 / 28.43 / 24.40, Lanczos-3 34.32 / 30.83 / 28.81 / 24.64, Magic Kernel Sharp 2021 34.13 / 30.69 / 28.69 /
24.57; with the sharpening below at alpha 0.35: 34.83 at x2 and 29.19 at x4.

At scale 1 nothing is upscaled: `Identity` passes on the image, to which the network adds its correction.

`PublishedUpsampler` is that of the published networks, for their weights.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOW_PASS = (-1 / 32, 0.0, 9 / 32, 16 / 32, 9 / 32, 0.0, -1 / 32)
"""Half-band low-pass filter, which the published networks called sharpening."""
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
Padding = Literal["replicate", "zero"]
Naming = Literal["classic", "release"]


def bicubic(x: float) -> float:
    """Keys' cubic convolution kernel, a = -0.5 (IEEE TASSP 29, 1981): MATLAB's bicubic. Zero for |x| >= 2."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def mks2021(x: float) -> float:
    """Magic Kernel Sharp 2021, John Costella, johncostella.com/magic. Zero for |x| >= 4.5."""
    x = abs(x)
    if x <= 0.5:
        return 577 / 576 - 239 / 144 * x**2
    if x <= 1.5:
        return (140 * x**2 - 379 * x + 239) / 144
    if x <= 2.5:
        return -(24 * x**2 - 113 * x + 130) / 144
    if x <= 3.5:
        return (4 * x**2 - 27 * x + 45) / 144
    return -(4 * x**2 - 36 * x + 81) / 1152 if x < 4.5 else 0.0


KERNELS: dict[str, Callable[[float], float]] = {"bicubic": bicubic, "mks2021": mks2021}
RADII = {"bicubic": 2, "mks2021": 4}
"""Reach of a kernel on each side of the nearest LR pixel, in LR pixels."""


def phase_taps(kernel: str, scale: int, alpha: float) -> Tensor:
    """Filters (scale, taps), one per sub-pixel of an LR pixel along one axis; each sums to 1.

    Sub-pixel p of LR pixel i is at i + (p + 0.5) / scale - 0.5. The kernel is preceded by the sharpening filter
    identity + alpha (identity - LOW_PASS).
    """
    radius = RADII[kernel]
    offsets = [(p + 0.5) / scale - 0.5 for p in range(scale)]
    taps = torch.tensor(
        [[KERNELS[kernel](offset - j) for j in range(-radius, radius + 1)] for offset in offsets], dtype=torch.float64
    )
    taps /= taps.sum(1, keepdim=True)
    if not alpha:
        return taps
    sharpen = -alpha * torch.tensor(LOW_PASS, dtype=torch.float64)
    sharpen[3] += 1 + alpha
    return F.conv1d(taps[:, None], sharpen[None, None], padding=6)[:, 0]  # LOW_PASS is symmetric: no flip needed


class FixedUpsampler(nn.Module, ABC):
    """Base of all skip upsamplers; computes in full precision, since rounding would limit the whole network."""

    radius: int
    """LR pixels on each side that an SR pixel depends on."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, scale H, scale W)."""
        if not torch.is_autocast_enabled(x.device.type):
            return self.upscale(x)
        with torch.autocast(x.device.type, enabled=False):
            return self.upscale(x.float())

    @abstractmethod
    def upscale(self, x: Tensor) -> Tensor:
        """Upscale in the precision of x; called by `forward`."""


class Identity(FixedUpsampler):
    """The skip upsampler of scale 1: the image as it is, unsharpened."""

    radius = 0

    def upscale(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> the same."""
        return x


class PhaseUpsampler(FixedUpsampler):
    """Upscales (N, 3, H, W) to (N, 3, scale H, scale W) by a fixed separable kernel, all of it at LR size.

    Args:
        kernel: a name in KERNELS.
        scale: HR side / LR side.
        alpha: strength of the sharpening in [0, 1]; 0 is the plain kernel.
        padding: values beyond the border: the outermost pixel, or zero.
    """

    vertical: Tensor
    horizontal: Tensor

    def __init__(self, kernel: str, scale: int, alpha: float, padding: Padding) -> None:
        super().__init__()
        taps = phase_taps(kernel, scale, alpha).float()
        self.scale, self.padding = scale, padding
        self.radius = taps.shape[1] // 2
        self.register_buffer("vertical", taps.repeat(3, 1)[:, None, :, None], persistent=False)
        self.register_buffer("horizontal", taps.repeat(3 * scale, 1)[:, None, None, :], persistent=False)

    def upscale(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, scale H, scale W)."""
        x = F.pad(x, (self.radius,) * 4, mode="replicate" if self.padding == "replicate" else "constant")
        rows = F.conv2d(x, self.vertical.to(x.dtype), groups=3)
        return F.pixel_shuffle(F.conv2d(rows, self.horizontal.to(x.dtype), groups=3 * self.scale), self.scale)


class SeparableFilter(nn.Module):
    """Symmetric filter along rows, then columns, as two frozen depthwise convolutions with the family's tensor names.

    The release family also stores the taps themselves, as `kernel`.
    """

    def __init__(self, taps: tuple[float, ...], padding: Padding, naming: Naming) -> None:
        super().__init__()
        self.names = ("conv_h", "conv_v") if naming == "classic" else ("h", "v")
        line = torch.tensor(taps)
        if naming == "release":
            self.register_buffer("kernel", line)
        reach = len(taps) // 2
        mode: Literal["replicate", "zeros"] = "replicate" if padding == "replicate" else "zeros"
        for name, size, pad in zip(self.names, ((1, len(taps)), (len(taps), 1)), ((0, reach), (reach, 0)), strict=True):
            layer = nn.Conv2d(3, 3, size, padding=pad, groups=3, bias=False, padding_mode=mode)
            layer.weight = nn.Parameter(line.view(1, 1, *size).repeat(3, 1, 1, 1), requires_grad=False)
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        first, second = (self.get_submodule(name) for name in self.names)
        filtered: Tensor = second(first(x))
        return filtered


class PublishedUpsampler(FixedUpsampler):
    """Published upsampler: blend with LOW_PASS by alpha, nearest neighbour, BINOMIAL at HR size.

    Same arguments as `PhaseUpsampler`; a larger alpha blurs more.
    """

    def __init__(self, scale: int, alpha: float, padding: Padding, naming: Naming) -> None:
        super().__init__()
        self.scale, self.alpha = scale, alpha
        self.names = ("sharpen", "resample_conv") if naming == "classic" else ("sharp", "blur")
        for name, taps in zip(self.names, (LOW_PASS, BINOMIAL), strict=True):
            self.add_module(name, SeparableFilter(taps, padding, naming))
        self.radius = (3 if alpha else 0) + math.ceil(2 / scale)

    def upscale(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, scale H, scale W)."""
        low_pass, blur = (self.get_submodule(name) for name in self.names)
        if self.alpha:
            x = x + self.alpha * (low_pass(x) - x)
        upscaled: Tensor = blur(F.interpolate(x, scale_factor=self.scale, mode="nearest"))
        return upscaled


def build_skip_upsampler(kind: str, scale: int, alpha: float, padding: Padding, naming: Naming) -> FixedUpsampler:
    """Build the module selected by `skip_upsampler`, `upsampler_alpha` and `skip_padding`; the identity at scale 1."""
    if scale == 1:
        return Identity()
    if kind == "published":
        return PublishedUpsampler(scale, alpha, padding, naming)
    return PhaseUpsampler(kind, scale, alpha, padding)
