"""Options of `network_d`: the network that an adversarial loss trains against the SR network."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from paragonsr.options import Variant
from paragonsr.registry import Registry

if TYPE_CHECKING:
    from paragonsr.discriminators.base import Discriminator


class DiscriminatorOptions(Variant):
    """Keys that all discriminators share."""

    registry: ClassVar[Registry[type["DiscriminatorOptions"]]] = Registry("paragonsr.discriminators")

    num_feat: int = Field(64, ge=4)
    """Channels of the first convolution."""
    num_d: int = Field(1, ge=1, le=4)
    """Scales at which the image is judged, 1, 1/2, 1/4, ..., each by a network of its own (pix2pixHD, 1711.11585)."""

    def build(self) -> "Discriminator":  # type: ignore[override]
        """Build the module; its logits are one per pixel or per patch, at each scale."""
        if self.num_d == 1:
            network: Discriminator = super().build()
            return network
        from paragonsr.discriminators.multi_scale import MultiScale

        build_one = super().build
        return MultiScale([build_one() for _ in range(self.num_d)])


class UNetOptions(DiscriminatorOptions):
    """U-Net with spectral norm and skips, one logit per pixel, of Real-ESRGAN (Wang et al. 2107.10833)."""

    type: Literal["unetdiscriminatorsn"] = "unetdiscriminatorsn"
    aliases = ("unet",)
    target = "paragonsr.discriminators.networks:UNet"
    skip_connection: bool = True
    """Add the features of the way down on the way up."""


class DUNetOptions(DiscriminatorOptions):
    """U-Net that doubles its channels on the way down, with Mish, as traiNNer-redux's, but bilinear on the way up
    instead of DySample: weights of one do not fit the other."""

    type: Literal["dunet"] = "dunet"
    target = "paragonsr.discriminators.networks:DUNet"


class PatchGANOptions(DiscriminatorOptions):
    """Strided convolutions with spectral norm, one logit per patch: the 70 x 70 PatchGAN of pix2pix (Isola et al.
    1611.07004) with three layers, without its batch normalisation."""

    type: Literal["patchgan"] = "patchgan"
    aliases = ("patchgandiscriminatorsn",)
    target = "paragonsr.discriminators.networks:PatchGAN"
    n_layers: int = Field(3, ge=1, le=6)
    """Convolutions of stride 2."""
