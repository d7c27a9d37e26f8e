"""The keys of `val.metrics.<name>`: what is measured, on which channels, and how much border is left out."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from paragonsr.options import Variant
from paragonsr.registry import Registry

if TYPE_CHECKING:
    from paragonsr.metrics.base import Metric


class MetricOptions(Variant):
    """Keys of all metrics."""

    registry: ClassVar[Registry[type["MetricOptions"]]] = Registry("paragonsr.metrics")

    def build(self, *, scale: int) -> "Metric":  # type: ignore[override]
        """The metric.

        Args:
            scale: of the images; the default of what is shaved off their borders.
        """
        metric: Metric = super().build(scale=scale)
        return metric


class FidelityOptions(MetricOptions):
    """Keys of the metrics that compare pixels."""

    better: Literal["higher"] = "higher"
    """Which of two values is the better one."""
    crop_border: int | None = Field(None, ge=0)
    """Pixels shaved from each side before measuring; default: the scale, as papers do."""
    test_y_channel: bool = False
    """Measure the Y channel (BT.601, studio range) instead of R, G and B."""

    symbol: ClassVar[str]
    """Name of the metric in its protocol."""

    def shave(self, scale: int) -> int:
        """Pixels shaved from each side."""
        return scale if self.crop_border is None else self.crop_border

    def protocol(self, scale: int) -> str:
        """How it is measured, in the words that travel with the number."""
        symbol, channels = (f"{self.symbol}_y", "bt601-studio") if self.test_y_channel else (self.symbol, "rgb")
        return f"{symbol}/crop={self.shave(scale)}/{channels}/uint8/mean-of-images"


class PSNROptions(FidelityOptions):
    """PSNR in dB over R, G and B; see paragonsr.metrics.psnr."""

    type: Literal["psnr"] = "psnr"
    aliases: ClassVar[tuple[str, ...]] = ("calculate_psnr",)
    target = "paragonsr.metrics.psnr:PSNR"
    symbol = "psnr"


class PSNRYOptions(PSNROptions):
    """PSNR in dB over the Y channel: what papers report."""

    type: Literal["psnr_y"] = "psnr_y"  # type: ignore[assignment]
    aliases: ClassVar[tuple[str, ...]] = ()
    test_y_channel: Literal[True] = True


class SSIMOptions(FidelityOptions):
    """SSIM over R, G and B; see paragonsr.metrics.ssim."""

    type: Literal["ssim"] = "ssim"
    aliases: ClassVar[tuple[str, ...]] = ("calculate_ssim",)
    target = "paragonsr.metrics.ssim:SSIM"
    symbol = "ssim"


class SSIMYOptions(SSIMOptions):
    """SSIM over the Y channel: what papers report."""

    type: Literal["ssim_y"] = "ssim_y"  # type: ignore[assignment]
    aliases: ClassVar[tuple[str, ...]] = ()
    test_y_channel: Literal[True] = True
