"""Losses that compare images in the frequency domain."""

import torch
from torch import Tensor

from paragonsr.losses.base import Loss
from paragonsr.losses.options import FFTOptions, FocalFrequencyOptions


class FFTLoss(Loss):
    """Mean |difference| of the real and of the imaginary parts of the orthonormal 2-D Fourier transform."""

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        """See `Loss`."""
        return torch.view_as_real(torch.fft.fft2(sr - hr, norm="ortho")).abs().mean()


class FocalFrequencyLoss(Loss):
    """Mean of w |difference|^2 of the orthonormal 2-D Fourier transform, with w = |difference|^alpha divided by its
    maximum in the channel; no gradient flows through w.

    Args:
        alpha: exponent; 0 weights all frequencies equally.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        """See `Loss`."""
        squares = torch.view_as_real(torch.fft.fft2(sr - hr, norm="ortho")).square().sum(-1)
        weights = squares.detach() ** (self.alpha / 2)
        largest = weights.amax((-2, -1), keepdim=True)
        weights = weights / largest.clamp_min(torch.finfo(weights.dtype).tiny)
        return (weights * squares).mean()


def build_fft(options: FFTOptions) -> FFTLoss:
    """The loss that the options describe."""
    return FFTLoss()


def build_focal(options: FocalFrequencyOptions) -> FocalFrequencyLoss:
    """The loss that the options describe."""
    return FocalFrequencyLoss(options.alpha)
