"""DISTS as a loss (Ding et al. 2004.07728)."""

from torch import Tensor

from paragonsr.features.judging import DISTS
from paragonsr.losses.base import Loss
from paragonsr.losses.perceptual_options import DISTSLossOptions


class DISTSLoss(Loss):
    """See `DISTSLossOptions`. Always in float32: its ratios of variances are sensitive to rounding."""

    def __init__(self, options: DISTSLossOptions) -> None:
        super().__init__()
        self.distance = DISTS(options.chosen_network, options.weights)

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        """See `Loss`."""
        value: Tensor = self.distance(sr, hr.detach())
        return value.mean()
