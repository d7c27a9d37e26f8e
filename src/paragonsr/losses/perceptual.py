"""Perceptual loss: distance of the features of a VGG network (Johnson et al. 1603.08155)."""

from torch import Tensor

from paragonsr.features.vgg import Features
from paragonsr.losses.base import Loss
from paragonsr.losses.perceptual_options import PerceptualOptions


class PerceptualLoss(Loss):
    """Weighted sum over layers of the mean distance of the features of SR and HR images; see `PerceptualOptions`.

    The network computes in the training precision, the distance in float32.
    """

    autocast = True

    def __init__(self, options: PerceptualOptions) -> None:
        super().__init__()
        self._weights, self._criterion = options.layers_of_network(), options.criterion
        self.features = Features(options.chosen_network, list(self._weights), options.weights)

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        ours, theirs = self.features(sr), self.features(hr.detach())
        total = sr.new_zeros(())
        for layer, weight in self._weights.items():
            difference = (ours[layer] - theirs[layer]).float()
            if self._criterion == "l1":
                distance = difference.abs()
            elif self._criterion == "charbonnier":
                distance = (difference.square() + 1e-12).sqrt()
            else:
                distance = difference.square()
            total = total + weight * distance.mean()
        return total
