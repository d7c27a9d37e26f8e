"""Options of `train.losses`: losses, their weights and their schedules."""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from paragonsr.options import ITERATIONS, Variant
from paragonsr.ramps import fall
from paragonsr.registry import Registry

if TYPE_CHECKING:
    from paragonsr.losses.base import Loss


class LossOptions(Variant):
    """Keys that all losses share: a weight, and how it changes during training."""

    registry: ClassVar[Registry[type["LossOptions"]]] = Registry("paragonsr.losses")

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9_]+$")
    """Name in logs and TensorBoard; required if two losses have the same type. Default: the type without `loss`."""
    loss_weight: float = Field(1.0, ge=0)
    """Weight in the sum of losses."""
    start_iter: int = Field(0, ge=0, json_schema_extra=ITERATIONS)
    """Iterations after which this loss is enabled and its ramp starts; until then its weight is 0."""
    target_iter: int | None = Field(None, ge=1, json_schema_extra=ITERATIONS)
    """Iteration at which the ramp reaches target_weight."""
    target_weight: float | None = Field(None, ge=0)
    """Weight from target_iter on."""
    schedule_type: Literal["linear", "cosine", "step"] = "linear"
    """Shape of the ramp; step jumps at target_iter."""
    disable_after: int | None = Field(None, ge=1, json_schema_extra=ITERATIONS)
    """Iterations after which this loss is disabled."""

    target: ClassVar[str] = "paragonsr.losses.pixel:build"
    role: ClassVar[Literal["fidelity", "perceptual", "adversarial"]] = "fidelity"
    """What it serves: PSNR, or sharpness at the cost of PSNR, with or without a discriminator."""

    @model_validator(mode="after")
    def _ramp(self) -> "LossOptions":
        if (self.target_iter is None) != (self.target_weight is None):
            raise ValueError("a ramp needs both target_iter and target_weight")
        if self.target_iter is not None and self.target_iter <= self.start_iter:
            raise ValueError(f"target_iter {self.target_iter} is not after start_iter {self.start_iter}")
        return self

    @property
    def label(self) -> str:
        """Name in logs and TensorBoard: `name`, or the type without `loss`."""
        return self.name or self.type.removesuffix("loss")

    def weight_at(self, iteration: float) -> float:
        """Weight in the update after `iteration` finished iterations; the first update has iteration 0.

        It is 0 before start_iter and from disable_after on. In between it is loss_weight, or follows the ramp from
        loss_weight at start_iter to target_weight at target_iter and stays there.
        """
        if iteration < self.start_iter or (self.disable_after is not None and iteration >= self.disable_after):
            return 0.0
        if self.target_iter is None or self.target_weight is None:
            return self.loss_weight
        share = min((iteration - self.start_iter) / (self.target_iter - self.start_iter), 1.0)
        if self.schedule_type == "cosine":
            share = 1 - fall("cosine", share)
        elif self.schedule_type == "step":
            share = math.floor(share)
        return self.loss_weight + share * (self.target_weight - self.loss_weight)

    def build(self) -> "Loss":  # type: ignore[override]
        """Build the module, which takes (SR, HR), both N x 3 x H x W in [0, 1], to a scalar."""
        loss: Loss = super().build()
        return loss


class L1Options(LossOptions):
    """Mean absolute error."""

    type: Literal["l1loss"] = "l1loss"
    aliases = ("l1",)


class MSEOptions(LossOptions):
    """Mean squared error, the error that PSNR measures."""

    type: Literal["mseloss"] = "mseloss"
    aliases = ("mse", "l2loss")


class PSNRLossOptions(LossOptions):
    """80 - PSNR in dB, mean over the images: 80 + 10 log10(MSE + 1e-8), 0 for equal images. Gradients as in NAFNet's
    (2204.04676), whose value is 80 less."""

    type: Literal["psnrloss"] = "psnrloss"
    aliases = ("psnr",)
    to_y: bool = False
    """Measure luma (BT.601, studio range) instead of R, G and B."""


class CharbonnierOptions(LossOptions):
    """Mean of sqrt(d^2 + eps), Charbonnier et al. 1994, as in LapSRN (1704.03915)."""

    type: Literal["charbonnierloss"] = "charbonnierloss"
    aliases = ("charbonnier",)
    eps: float = Field(1e-6, gt=0)
    """Squared width of the rounded tip, in [0, 1] units of colour squared."""


class HuberOptions(LossOptions):
    """Half the squared error up to delta, linear beyond, Huber 1964."""

    type: Literal["huberloss"] = "huberloss"
    aliases = ("huber",)
    delta: float = Field(1.0, gt=0)
    """Error above which it is linear; colours are in [0, 1], so 1 is never reached."""


class SSIMLossOptions(LossOptions):
    """1 - SSIM; see paragonsr.losses.structural."""

    type: Literal["ssimloss"] = "ssimloss"
    aliases = ("ssim",)
    target = "paragonsr.losses.structural:build_ssim"


class MSSSIMLossOptions(LossOptions):
    """1 - MS-SSIM; see paragonsr.losses.structural."""

    type: Literal["mssimloss"] = "mssimloss"
    aliases = ("msssimloss", "ms_ssimloss", "mssim")
    target = "paragonsr.losses.structural:build_msssim"
    scales: Annotated[int, Field(ge=1, le=5)] | Literal["auto"] = 5
    """Number of scales; five need HR patches of 176 pixels, each scale less half of that. auto: as many as fit."""


class FFTOptions(LossOptions):
    """Mean absolute difference of the Fourier coefficients, real and imaginary parts separately (2108.05054)."""

    type: Literal["fftloss"] = "fftloss"
    aliases = ("fft", "frequencyloss")
    target = "paragonsr.losses.frequency:build_fft"


class FocalFrequencyOptions(LossOptions):
    """Squared difference of the Fourier coefficients, each weighted by its own magnitude, Jiang et al. 2012.12821."""

    type: Literal["ffloss"] = "ffloss"
    aliases = ("focalfrequencyloss",)
    target = "paragonsr.losses.frequency:build_focal"
    alpha: float = Field(1.0, ge=0)
    """Exponent of the weight; 0 weights all frequencies equally."""


class GradientOptions(LossOptions):
    """Mean absolute difference of the image gradients (differences of neighbouring pixels), along both axes."""

    type: Literal["gradientloss"] = "gradientloss"
    aliases = ("gradloss",)


class LaplacianOptions(LossOptions):
    """Mean absolute difference of the 4-neighbour Laplacian."""

    type: Literal["laplacianloss"] = "laplacianloss"
    aliases = ("laploss",)


class TotalVariationOptions(LossOptions):
    """Mean absolute difference of neighbouring SR pixels, Rudin et al. 1992 (anisotropic); ignores HR."""

    type: Literal["tvloss"] = "tvloss"


class LumaOptions(LossOptions):
    """Mean absolute error of luma, ITU-R BT.601, full range."""

    type: Literal["lumaloss"] = "lumaloss"


class ColorOptions(LossOptions):
    """Mean absolute error of Cb and Cr, ITU-R BT.601, full range."""

    type: Literal["colorloss"] = "colorloss"
    aliases = ("colourloss",)


class HSLuvOptions(LossOptions):
    """Difference of hue (around the circle), saturation and lightness in HSLuv, each in [0, 1], as in traiNNer-redux:
    greys and nearly black or white pixels have no hue, and saturation counts more at middle lightness."""

    type: Literal["hsluvloss"] = "hsluvloss"
    aliases = ("hsluv",)
    target = "paragonsr.losses.hsluv:HSLuvLoss"
    hue_weight: float = Field(1 / 3, ge=0)
    saturation_weight: float = Field(1 / 3, ge=0)
    lightness_weight: float = Field(1 / 3, ge=0)
    criterion: Literal["l1", "l2", "charbonnier"] = "l1"
    """Distance of saturation and lightness; that of hue is absolute."""
