"""Options shared by both of our families."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from paragonsr.archs.network_options import NetworkOptions


class ParagonOptions(NetworkOptions):
    """Options of the fixed upscaling that the learned detail is added to."""

    legacy: ClassVar[dict[str, Any]] = {"skip_upsampler": "published", "skip_padding": "zero"}
    renamed: ClassVar[dict[str, str]] = {"base": "skip_upsampler", "base_padding": "skip_padding"}

    skip_upsampler: Literal["mks2021", "bicubic", "published"] = "mks2021"
    """A1. Fixed upscaling that the learned detail is added to. mks2021: Magic Kernel Sharp 2021, 34.83 dB on Set5 x2 at
    the default alpha; bicubic: interpolation with a = -0.5, 33.68 dB at alpha 0; published: nearest neighbour and a
    five-tap blur. Without effect at scale 1, where the detail is added to the image itself."""
    skip_padding: Literal["replicate", "zero"] = "replicate"
    """A2. Padding of the skip upsampler; zero, as published, darkens the outermost pixels by 31-53%."""
    upsampler_alpha: float = Field(0.35, ge=0, le=1)
    """A1. Strength of the sharpening filter before the upscaling; with `skip_upsampler: published` it blurs."""

    def without_effect(self, scale: int) -> list[str]:
        """Explicitly set options without effect: at scale 1 those of the skip upsampler."""
        skip = ("skip_upsampler", "skip_padding", "upsampler_alpha")
        return [name for name in skip if scale == 1 and name in self.model_fields_set]
