"""Metrics that compare the features of a network: feature distance, LPIPS, DISTS."""

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from paragonsr.features.judging import DISTS, LPIPS, FeatureDistance
from paragonsr.metrics.base import Metric
from paragonsr.metrics.protocol import Image, cropped

if TYPE_CHECKING:
    from paragonsr.metrics.perceptual_options import PerceptualMetricOptions


class PerceptualMetric(Metric):
    """Distance of one of `paragonsr.features.judging`, computed in float32 on a CUDA GPU if there is one.

    Args:
        options: which distance, with which network.
        scale: unused; the whole image is measured by default.

    Raises:
        UserError: the weights are missing.
    """

    better: Literal["higher", "lower"] = "lower"

    def __init__(self, options: "PerceptualMetricOptions", scale: int) -> None:
        self._options = options
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._distance = _built(options).to(self._device)

    @property
    def protocol(self) -> str:
        """Distance, network and border, as text."""
        return self._options.protocol

    def measure(self, sr: Image, hr: Image) -> float:
        """The distance; 0 for equal images."""
        pair = cropped(sr, hr, shave=self._options.crop_border)
        with torch.no_grad(), torch.autocast(self._device.type, enabled=False):
            return float(self._distance(*(self._tensor(image) for image in pair)))

    def _tensor(self, image: Image) -> Tensor:
        planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
        return planes.to(self._device).float() / 255


def _built(options: "PerceptualMetricOptions") -> nn.Module:
    weights = getattr(options, "weights", None)
    if options.measured == "lpips":
        return LPIPS(weights)
    if options.measured == "dists":
        return DISTS(options.network, weights)  # type: ignore[arg-type]
    return FeatureDistance(options.network, weights)  # type: ignore[arg-type]
