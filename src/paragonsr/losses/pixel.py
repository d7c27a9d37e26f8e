"""Losses that compare pixels or their neighbourhoods, as functions of the difference of two images.

The formulas are documented with the options (paragonsr.losses.options).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from paragonsr.losses.base import Loss
from paragonsr.losses.options import (
    CharbonnierOptions,
    ColorOptions,
    GradientOptions,
    HuberOptions,
    L1Options,
    LaplacianOptions,
    LossOptions,
    LumaOptions,
    MSEOptions,
    PSNRLossOptions,
    TotalVariationOptions,
)

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G, B in Y'."""
STUDIO_LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)
"""Weights of R, G, B in Y of BT.601, which spans 219 of 255 levels."""
CB = (-0.168736, -0.331264, 0.5)
CR = (0.5, -0.418688, -0.081312)


class PixelLoss(Loss):
    """Loss computed by a given function of SR and HR images."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        """See `Loss`."""
        return self._function(sr, hr)


def build(options: LossOptions) -> PixelLoss:
    """The loss that the options describe."""
    return PixelLoss(_function(options))


def _function(options: LossOptions) -> Callable[[Tensor, Tensor], Tensor]:
    match options:
        case L1Options():
            return F.l1_loss
        case MSEOptions():
            return F.mse_loss
        case PSNRLossOptions(to_y=to_y):
            return lambda sr, hr: _psnr_loss(_mixed(sr - hr, STUDIO_LUMA) if to_y else sr - hr)
        case CharbonnierOptions(eps=eps):
            return lambda sr, hr: ((sr - hr).square() + eps).sqrt().mean()
        case HuberOptions(delta=delta):
            return lambda sr, hr: F.huber_loss(sr, hr, delta=delta)
        case GradientOptions():
            return lambda sr, hr: _variation(sr - hr)
        case LaplacianOptions():
            return lambda sr, hr: _laplacian(sr - hr).abs().mean()
        case TotalVariationOptions():
            return lambda sr, hr: _variation(sr)
        case LumaOptions():
            return lambda sr, hr: _mixed(sr - hr, LUMA).abs().mean()
        case ColorOptions():
            return lambda sr, hr: _mixed(sr - hr, CB, CR).abs().mean()
    raise TypeError(f"{options.type} is not a pixel loss")


def _psnr_loss(difference: Tensor) -> Tensor:
    """80 + 10 log10(MSE + 1e-8) of each image, averaged; 0 where there is no difference."""
    return 80 + 10 * (difference.square().mean(dim=(1, 2, 3)) + 1e-8).log10().mean()


def _variation(images: Tensor) -> Tensor:
    """Mean absolute forward difference along x plus that along y."""
    return images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean()


def _laplacian(images: Tensor) -> Tensor:
    """Sum of the four neighbours minus four times the pixel, inside the border."""
    inner = images[..., 1:-1, 1:-1]
    across = images[..., 1:-1, :-2] + images[..., 1:-1, 2:]
    down = images[..., :-2, 1:-1] + images[..., 2:, 1:-1]
    return across + down - 4 * inner


def _mixed(images: Tensor, *rows: tuple[float, float, float]) -> Tensor:
    """Linear combinations of the channels: N x len(rows) x H x W."""
    return torch.einsum("rc,nchw->nrhw", images.new_tensor(rows), images)
