"""Structural similarity losses, 1 - SSIM and 1 - MS-SSIM, with a hand-written gradient.

The Gaussian window is separable and symmetric, so the gradient of a blur is a blur: forward and backward of one scale
take one depthwise convolution per axis and map, whereas autograd would differentiate every product.
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
    layout = torch.channels_last if images.device.type == "cpu" else torch.contiguous_format
    return images.reshape(1, -1, *images.shape[2:]).contiguous(memory_format=layout)


def _blurred(planes: Tensor, margin: int = 0) -> Tensor:
    """Blur planes along both axes, padded by a margin of zeros."""
    count = planes.shape[1]
    taps = window(planes).expand(count, 1, SIDE)
    planes = F.conv2d(planes, taps[..., None], padding=(margin, 0), groups=count)
    return F.conv2d(planes, taps[:, :, None], padding=(0, margin), groups=count)


class _Similarity(torch.autograd.Function):
    """Mean similarity over all positions of the window inside the image, per plane: 1 x P x H x W to 1 x P.

    With mx, my, s, p the blurred x, y, x^2 + y^2 and x y:

        contrast-structure  cs = (2 (p - mx my) + C2) / (s - mx^2 - my^2 + C2)
        luminance           l  = (2 mx my + C1) / (mx^2 + my^2 + C1)

    Returns the mean of cs, or of l cs (which is SSIM). Differentiable in x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, luminance: bool) -> Tensor:
        mx, my, s, p = (_blurred(planes) for planes in (x, y, (x * x).addcmul_(y, y), x * y))
        product, squares = mx * my, mx * mx + my * my
        spread = s.sub_(squares).add_(C2)
        cs = p.sub_(product).mul_(2).add_(C2).div_(spread)
        if luminance:
            bright = squares.add_(C1)
            lum = product.mul_(2).add_(C1).div_(bright)
            ctx.save_for_backward(x, y, mx, my, spread, cs, bright, lum)
            return (lum * cs).mean((-2, -1))
        ctx.save_for_backward(x, y, mx, my, spread, cs)
        return cs.mean((-2, -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        x, y, mx, my, spread, cs, *luminance = ctx.saved_tensors
        outer = (grad / (cs.shape[-2] * cs.shape[-1]))[..., None, None]
        # d cs / d p = 2 / spread, d cs / d s = -cs / spread, d cs / d mx = 2 (mx cs - my) / spread
        to_p = 2 * outer / spread
        to_mx = (mx * cs).sub_(my)
        if luminance:
            bright, lum = luminance
            # d l / d mx = 2 (my - mx l) / bright
            to_p = to_p * lum
            to_mx = to_mx.mul_(to_p).add_((my - mx * lum).mul_(cs).div_(bright).mul_(2 * outer))
        else:
            to_mx = to_mx.mul_(to_p)
        to_s = cs * to_p  # times -1/2, and d s / d x = 2 x
        from_mx, from_s, from_p = (_blurred(planes, SIDE - 1) for planes in (to_mx, to_s, to_p))
        return from_mx.addcmul_(x, from_s, value=-1).addcmul_(y, from_p), None, None


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
        similarity: Tensor = _Similarity.apply(_planes(sr), _planes(hr), True)
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
        x, y = _planes(sr), _planes(hr)
        product = x.new_ones(x.shape[:2])
        for scale in range(scales):
            if scale:
                x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
            similarity: Tensor = _Similarity.apply(x, y, scale == scales - 1)
            product = product * soft_floor(similarity) ** (WEIGHTS[scale] / share)
        return 1 - product.mean()

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
