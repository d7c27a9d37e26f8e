"""Structural similarity losses, 1 - SSIM and 1 - MS-SSIM, with a hand-written gradient.

The Gaussian window is separable and symmetric, so the gradient of a blur is a blur: forward and backward of one scale
take one depthwise convolution per axis and map, whereas autograd would differentiate every product. Sums and
differences of the images need four such maps, as few as the images themselves, and fewer products.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from paragonsr.errors import UserError
from paragonsr.losses.base import Loss

if TYPE_CHECKING:
    from paragonsr.losses.options import MSSSIMLossOptions, SSIMLossOptions

SIDE = 11
"""Side of the Gaussian window in pixels."""
SIGMA = 1.5
"""Standard deviation of the Gaussian window in pixels."""
C1 = 0.01**2
"""(K1 L)^2 of the paper, for images in [0, 1]."""
C2 = 0.03**2
"""(K2 L)^2 of the paper."""
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, finest first, Wang et al. 2003, "Multi-scale structural similarity", section 3.2."""
FLOOR = 0.01
"""Mean similarity below which `soft_floor` applies."""


def window(like: Tensor) -> Tensor:
    """One-dimensional Gaussian with 11 taps, sigma 1.5 and sum 1."""
    taps = torch.arange(-(SIDE // 2), SIDE // 2 + 1, dtype=like.dtype, device=like.device)
    gaussian = torch.exp(-(taps**2) / (2 * SIGMA**2))
    return gaussian / gaussian.sum()


def _planes(images: Tensor) -> Tensor:
    """Reshape every channel of every sample into a channel of one image, 1 x N C x H x W.

    On a CPU the memory layout is channels-last, so that a depthwise convolution works on whole vectors of planes, in a
    third of the time. Elsewhere it is contiguous, so that torch's depthwise kernel computes in float32 even if TF32 is
    allowed.
    """
    if images.device.type == "cpu":
        return torch.cat([image.permute(1, 2, 0) for image in images], -1).permute(2, 0, 1)[None]
    return images.reshape(1, -1, *images.shape[2:])


class _Filters:
    """Depthwise filters of planes, K x P x H x W: the window, and the 2 x 2 mean between two scales."""

    def __init__(self, like: Tensor) -> None:
        self.count = like.shape[1]
        self.rows = window(like).repeat(self.count).view(self.count, 1, SIDE, 1)
        self.columns = self.rows.view(self.count, 1, 1, SIDE)
        self.quarters = like.new_full((self.count, 1, 2, 2), 0.25)

    def blurred(self, planes: Tensor) -> Tensor:
        """Planes blurred where the window fits."""
        return F.conv2d(F.conv2d(planes, self.rows, groups=self.count), self.columns, groups=self.count)

    def spread(self, planes: Tensor, weight: Tensor) -> Tensor:
        """Adjoint of `blurred`, times a weight per plane, P x 1 x 1 x 1: a value goes to all pixels of its window."""
        rows = F.conv2d(planes, self.rows, padding=(SIDE - 1, 0), groups=self.count)
        return F.conv2d(rows, self.columns * weight, padding=(0, SIDE - 1), groups=self.count)

    def halved(self, planes: Tensor) -> Tensor:
        """2 x 2 means; an odd last row or column is dropped."""
        return F.conv2d(planes, self.quarters, stride=2, groups=self.count)

    def doubled(self, planes: Tensor, like: Tensor) -> Tensor:
        """Adjoint of `halved`, for planes of the size of `like`."""
        odd = [side % 2 for side in like.shape[-2:]]
        return F.conv_transpose2d(planes, self.quarters, stride=2, output_padding=odd, groups=self.count)


class _Similarities(torch.autograd.Function):
    """Mean similarity at each of S scales, over all positions of the window inside the image: S x P.

    It is that of planes x, y, 1 x P x H x W, in terms of u = x + y and v = x - y. With a tilde for the window's mean,
    and the variances A = (u^2)~ - u~^2 and B = (v^2)~ - v~^2:

        contrast-structure  cs = (A - B + 2 C2) / (A + B + 2 C2)
        luminance           l  = (u~^2 - v~^2 + 2 C1) / (u~^2 + v~^2 + 2 C1)

    which are those of the paper, as x y = (u^2 - v^2) / 4 and x^2 + y^2 = (u^2 + v^2) / 2. The result is the mean of
    cs, and at the last scale of l cs (which is SSIM). Differentiable in x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, scales: int) -> Tensor:
        filters = ctx.filters = _Filters(x)
        uv = torch.cat((x + y, x - y))
        means, saved = [], []
        for scale in range(scales):
            if scale:
                uv = filters.halved(uv)
            mean = filters.blurred(uv)
            total, cs = _sum_and_quotient(filters.blurred(uv * uv).addcmul_(mean, mean, value=-1), C2)
            similarity = cs
            saved += [uv, mean, total, cs]
            if scale == scales - 1:
                bright, lum = _sum_and_quotient(mean * mean, C1)
                similarity = lum * cs
                saved += [bright, lum]
            means.append(similarity.mean((-2, -1)))
        ctx.save_for_backward(*saved)
        return torch.cat(means)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        *saved, bright, lum = ctx.saved_tensors
        filters = ctx.filters
        coarser = None
        for outer, first in zip(reversed(grad), range(len(saved) - 4, -1, -4), strict=True):
            uv, mean, total, cs = saved[first : first + 4]
            # d cs / d A = (1 - cs) / total, d cs / d B = -(1 + cs) / total
            part = total.reciprocal()
            share = cs * part
            if coarser is None:
                part, share = part.mul_(lum), share.mul_(lum)
            to_a, to_minus_b = part - share, part.add_(share)
            # u~ enters A as -u~^2; d l / d u~^2 = (1 - l) / bright, d l / d v~^2 = -(1 + l) / bright
            to_u, to_minus_v = to_a, to_minus_b
            if coarser is None:
                part = cs / bright
                share = lum * part
                to_u, to_minus_v = to_a - part.sub(share), to_minus_b - part.add(share)
            to_mean = (mean[:1] * to_u).addcmul_(mean[1:], to_minus_v, value=-1)
            weight = outer.view(-1, 1, 1, 1) * (2 / cs[0, 0].numel())  # 2: the derivative of a square
            from_a, from_minus_b, from_mean = filters.spread(torch.cat((to_a, to_minus_b, to_mean)), weight).split(1)
            gradient = (from_a * uv[:1]).addcmul_(uv[1:], from_minus_b, value=-1).sub_(from_mean)
            coarser = gradient if coarser is None else gradient.add_(filters.doubled(coarser, gradient))
        return coarser, None, None


def _sum_and_quotient(pair: Tensor, constant: float) -> tuple[Tensor, Tensor]:
    """Of a and b, 2 x P x H x W: a + b + 2 constant, and (a - b + 2 constant) / (a + b + 2 constant). Overwrites a."""
    a, b = pair.split(1)
    a.add_(2 * constant)
    difference = a - b
    total = a + b
    return total, difference.div_(total)


def soft_floor(mean: Tensor) -> Tensor:
    """The mean itself at or above FLOOR; below it FLOOR / (2 - mean / FLOOR), which is positive and joins smoothly.

    Anti-correlated images have a negative mean, which has no fractional power; clamping it at 0 would give no gradient
    exactly where the images are worst.
    """
    return torch.where(mean > FLOOR, mean, FLOOR / (2 - mean.clamp(max=FLOOR) / FLOOR))


class SSIMLoss(Loss):
    """1 - SSIM, Wang et al. 2004: Gaussian window of 11 x 11, sigma 1.5, K1 = .01, K2 = .03, L = 1; mean over
    positions, channels and samples. In [0, 2]; images need at least 11 pixels per side.
    """

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        """See `Loss`."""
        if min(sr.shape[-2:]) < SIDE:
            raise UserError(
                f"ssimloss needs HR patches of at least {SIDE} pixels, but these are {_size(sr)}",
                where="train.losses",
                fix="Increase datasets.train.lq_size, or remove this loss.",
            )
        similarity: Tensor = _Similarities.apply(_planes(sr), _planes(hr), 1)
        return 1 - similarity.mean()


class MSSSIMLoss(Loss):
    """1 - MS-SSIM, Wang et al. 2003: the product over scales of mean cs to the power of the scale's weight, at the
    coarsest scale with luminance; images are halved between scales by 2 x 2 means, dropping an odd last row or column.

    With fewer than five scales, the first weights are scaled to the sum of all five. Means below .01 go through
    `soft_floor`; otherwise the value is that of the paper's formula. In [0, 1].

    Args:
        scales: number of scales, 1 to 5, or None for as many as fit into the images.
    """

    def __init__(self, scales: int | None) -> None:
        super().__init__()
        self.scales = scales

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        """See `Loss`."""
        scales = self._count(sr)
        share = sum(WEIGHTS[:scales]) / sum(WEIGHTS)
        similarity: Tensor = _Similarities.apply(_planes(sr), _planes(hr), scales)
        exponents = similarity.new_tensor(WEIGHTS[:scales])[:, None] / share
        return 1 - (soft_floor(similarity) ** exponents).prod(0).mean()

    def _count(self, sr: Tensor) -> int:
        side = min(sr.shape[-2:])
        fitting = sum(side >> scale >= SIDE for scale in range(len(WEIGHTS)))
        wanted = self.scales or max(1, fitting)
        if wanted > fitting:
            raise UserError(
                f"MS-SSIM with {wanted} scale{'s' * (wanted > 1)} needs HR patches of {SIDE << (wanted - 1)} pixels, "
                f"but these are {_size(sr)}",
                where="train.losses",
                fix=f"Increase datasets.train.lq_size, or set `scales: {max(1, fitting)}` (or `scales: auto`).",
            )
        return wanted


def _size(images: Tensor) -> str:
    return f"{images.shape[-1]} x {images.shape[-2]}"


def build_ssim(options: "SSIMLossOptions") -> SSIMLoss:
    """The loss that the options describe."""
    return SSIMLoss()


def build_msssim(options: "MSSSIMLossOptions") -> MSSSIMLoss:
    """The loss that the options describe."""
    return MSSSIMLoss(None if options.scales == "auto" else options.scales)
