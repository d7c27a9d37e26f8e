"""The keys of `val.metrics.<name>`: what is measured, on which channels, and how much border is left out."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from paragonsr.options import Variant
from paragonsr.registry import Registry

if TYPE_CHECKING:
    from paragonsr.metrics.protocol import Image


class MetricOptions(Variant):
    """What all metrics share."""

    registry: ClassVar[Registry[type["MetricOptions"]]] = Registry("paragonsr.metrics")

    better: Literal["higher"] = "higher"
    """Which of two values is the better one."""
    crop_border: int | None = Field(None, ge=0)
    """Pixels shaved from each side before measuring; default: the scale, as papers do."""
    test_y_channel: bool = False
    """Measure the Y channel (BT.601, studio range) instead of R, G and B."""

    symbol: ClassVar[str]
    """Name of the figure in its protocol."""

    def shave(self, scale: int) -> int:
        """Pixels shaved from each side."""
        return scale if self.crop_border is None else self.crop_border

    def measure(self, sr: "Image", hr: "Image", scale: int) -> float:
        """The figure of one image.

        Args:
            sr, hr: height x width x 3 uint8 RGB.
            scale: enlargement, the default of `crop_border`.

        Raises:
            ValueError: the images do not fit together or are too small.
        """
        figure: float = self.build(sr=sr, hr=hr, scale=scale)
        return figure

    def protocol(self, scale: int) -> str:
        """How it was measured, in the words that travel with the number."""
        symbol, channels = (f"{self.symbol}_y", "bt601-studio") if self.test_y_channel else (self.symbol, "rgb")
        return f"{symbol}/crop={self.shave(scale)}/{channels}/uint8/mean-of-images"


class PSNROptions(MetricOptions):
    """PSNR in dB over R, G and B; see paragonsr.metrics.psnr."""

    type: Literal["psnr"] = "psnr"
    aliases: ClassVar[tuple[str, ...]] = ("calculate_psnr",)
    target = "paragonsr.metrics.psnr:measure"
    symbol = "psnr"


class PSNRYOptions(PSNROptions):
    """PSNR in dB over the Y channel: the figure that papers report."""

    type: Literal["psnr_y"] = "psnr_y"  # type: ignore[assignment]
    aliases: ClassVar[tuple[str, ...]] = ()
    test_y_channel: Literal[True] = True


class SSIMOptions(MetricOptions):
    """SSIM over R, G and B; see paragonsr.metrics.ssim."""

    type: Literal["ssim"] = "ssim"
    aliases: ClassVar[tuple[str, ...]] = ("calculate_ssim",)
    target = "paragonsr.metrics.ssim:measure"
    symbol = "ssim"


class SSIMYOptions(SSIMOptions):
    """SSIM over the Y channel: the figure that papers report."""

    type: Literal["ssim_y"] = "ssim_y"  # type: ignore[assignment]
    aliases: ClassVar[tuple[str, ...]] = ()
    test_y_channel: Literal[True] = True
