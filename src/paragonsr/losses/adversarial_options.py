"""Options of adversarial losses."""

from typing import Literal

from pydantic import Field

from paragonsr.discriminators.options import DiscriminatorOptions, UNetOptions
from paragonsr.losses.options import LossOptions
from paragonsr.optim.options import AdamWOptions, OptimiserOptions


class GANOptions(LossOptions):
    """Adversarial loss; see paragonsr.losses.adversarial for the formulas."""

    type: Literal["ganloss"] = "ganloss"
    aliases = ("gan", "multiscaleganloss")
    target = "paragonsr.losses.adversarial:GANLoss"
    role = "adversarial"
    loss_weight: float = Field(0.1, ge=0)
    """Weight in the sum of losses; the discriminator's own loss is not weighted."""
    gan_type: Literal["vanilla", "lsgan", "hinge", "relativistic"] = "vanilla"
    """Formula of both losses."""
    real_label_val: float = 1.0
    """Label of HR images; below 1 it is smoothed. For vanilla and lsgan."""
    fake_label_val: float = 0.0
    """Label of SR images, for vanilla and lsgan."""
    r1: float = Field(0.0, ge=0)
    """Weight of the penalty on the discriminator's gradient at HR images."""
    r2: float = Field(0.0, ge=0)
    """The same at SR images."""
    feature_matching: float = Field(0.0, ge=0)
    """Weight of the distance of the discriminator's features of SR and HR images, beside the adversarial loss itself;
    10 in pix2pixHD (1711.11585)."""
    network_d: DiscriminatorOptions = Field(default_factory=UNetOptions)
    """The discriminator."""
    optim_d: OptimiserOptions = Field(default_factory=lambda: AdamWOptions(lr=1e-4, betas=[0.9, 0.99]))
    """Its optimiser; its rate follows the run's schedule."""
