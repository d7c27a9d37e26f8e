"""Options of the classic family: paragonsr2_{nano,micro,tiny,xs,s,m,l,xl}."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from paragonsr.archs.paragon_options import ParagonOptions

DUAL_ONLY = {"expansion", "band", "layer_scale", "norm_position", "activations", "num_groups"}
"""Options without effect in a compact body; use_norm, use_channel_mod and fast_body_mode may be set to false there."""


def _by_structure(*, compact: Any, dual: Any) -> Callable[[dict[str, Any]], Any]:
    """Default that depends on the structure."""
    return lambda given: dual if given.get("structure") == "dual" else compact


class ClassicOptions(ParagonOptions):
    """The classic family: one image, one pass, all learned layers at LR size."""

    target = "paragonsr.archs.paragonsr2:build"
    family = "classic"
    legacy: ClassVar[dict[str, Any]] = ParagonOptions.legacy | {
        "structure": "dual",
        "subpixel_init": "published",
        "attention_windows": "overlapping",
        "attention_scale": "tokens",
        "content_gain": "published",
        "pooling": "global",
        "norm_position": "after",
        "activations": "published",
        "layer_scale": 1e-5,
        "use_attention": True,
        "use_content_aware": True,
    }

    structure: Literal["compact", "dual"] = "compact"
    """A12. dual: the published blocks (banded depthwise context, then a depthwise transformer). compact: plain 3x3
    convolutions with PReLU, the last of which makes the sub-pixels. compact is better at equal parameters and time in
    nano, xs and s (docs/evidence.md), so it is the default of nano to s, unless an option is set that only dual has."""
    num_feat: int = Field(ge=1)
    """Channels of the body."""
    num_groups: int = Field(ge=1)
    """Groups of blocks, each with a skip connection around it (dual); halved by fast_body_mode."""
    num_blocks: int = Field(ge=1)
    """Blocks per group, halved by fast_body_mode (dual); 3x3 convolutions of the body (compact)."""
    fast_body_mode: bool = True
    """A8. Halves groups and blocks of a dual body (to at least 1 each); `body_size` gives the result."""
    expansion: float = Field(2.0, gt=0)
    """Hidden channels of a dual block per channel of the body."""
    band: int = Field(11, ge=1)
    """Length of the horizontal and vertical filters of a dual block; odd."""
    upsampler_alpha: float = Field(0.35, ge=0, le=1)
    detail_gain: float = Field(0.1, gt=0)
    """Factor on the initial weights of the last convolution, so that training starts near the skip upsampler."""
    layer_scale: float = Field(0.1, gt=0)
    """A10. Initial factors on the branches of a dual block; the published 1e-5 starves their gradient."""
    use_norm: bool = Field(default_factory=_by_structure(compact=False, dual=True))
    """RMS normalisation in dual blocks."""
    norm_position: Literal["before", "after"] = "before"
    """A10. before: normalise the input of a branch; after: as published, the residual stream at the end of each
    block."""
    activations: Literal["more", "published"] = "more"
    """A12. more: also after the stem and after the channel mix of a dual block; published: one per block."""
    use_channel_mod: bool = Field(default_factory=_by_structure(compact=False, dual=True))
    """Channel attention in dual blocks."""
    use_attention: bool = False
    """Window attention: in every dual block, or once at the end of a compact body. In S it makes a step several times
    as long, and is worse at equal time (docs/evidence.md)."""
    attention_window: int = Field(32, ge=8)
    """Side of an attention window, in LR pixels."""
    attention_windows: Literal["shifted", "overlapping"] = "shifted"
    """A4. shifted: windows that cover every pixel, shifted by half a window in odd blocks; overlapping: as published,
    blended windows that leave strips uncovered at many image sizes."""
    attention_scale: Literal["key_width", "tokens"] = "key_width"
    """A5. Quantity whose square root divides the logits; tokens, as published, makes attention nearly uniform."""
    use_content_aware: bool = Field(default_factory=_by_structure(compact=False, dual=True))
    """Multiply the detail by a gain estimated from the LR image."""
    content_gain: Literal["around_one", "published"] = "around_one"
    """A7. Range of that gain: (0.5, 1.5), starting at 1; published: (0.05, 0.2), which starves the detail."""
    pooling: Literal["local", "global"] = "local"
    """A7, A12. Region that channel_mod and the content gain average over. local: a neighbourhood of `pool_window`;
    global: as published, the whole input - patches in training, whole images at test time (see TLC, 2112.04491)."""
    pool_window: int = Field(64, ge=1)
    """Side of the local pooling neighbourhood, in LR pixels; the training patch should not be smaller."""
    subpixel_init: Literal["icnr", "published"] = "icnr"
    """A3. Initialisation of the sub-pixel convolution: icnr (1707.02937) makes all sub-pixels equal, without
    checkerboard artefacts."""
    luma_body: bool = False
    """Process only luma in the body of a compact network; colour comes from the skip upsampler. The saved cost allows a
    deeper or wider body: +0.06 dB of PSNR-Y in Nano at equal cost (experiment luma_body)."""
    use_channels_last: bool = False
    """Accepted for older configurations and ignored; `use_channels_last` of the training sets the memory layout."""

    @model_validator(mode="before")
    @classmethod
    def _dual_where_only_dual_can(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "structure" in given:
            return given
        parts = given.get("use_norm") or given.get("use_channel_mod") or given.get("fast_body_mode") is False
        return given | {"structure": "dual"} if parts or DUAL_ONLY & given.keys() else given

    @model_validator(mode="after")
    def _nothing_silent(self) -> Self:
        if self.luma_body and self.structure == "dual":
            raise ValueError("luma_body is an option of the compact structure")
        given = self.model_fields_set & (DUAL_ONLY | {"use_norm", "use_channel_mod", "fast_body_mode"})
        if self.structure == "compact" and given:
            values: dict[str, Any] = {"structure": "compact"}
            default = type(self)(**values)
            for name in sorted(given):
                if getattr(self, name) != getattr(default, name):
                    raise ValueError(f"{name} has no effect in a compact body; set structure: dual, or remove it")
        return self

    @field_validator("band")
    @classmethod
    def _odd(cls, band: int) -> int:
        if band % 2 == 0:
            raise ValueError("must be odd")
        return band

    @property
    def body_size(self) -> tuple[int, int]:
        """Actual number of groups, and of blocks per group, of a dual body."""
        half = 2 if self.fast_body_mode else 1
        return max(1, self.num_groups // half), max(1, self.num_blocks // half)


class NanoOptions(ClassicOptions):
    """10 k parameters."""

    type: Literal["paragonsr2_nano"] = "paragonsr2_nano"
    purpose = "real time on any hardware, video players, CPUs"
    legacy = ClassicOptions.legacy | {"upsampler_alpha": 0.4}
    num_feat: int = Field(default_factory=_by_structure(compact=16, dual=12), ge=1)
    num_groups: int = Field(1, ge=1)
    num_blocks: int = Field(default_factory=_by_structure(compact=3, dual=1), ge=1)
    expansion: float = Field(1.2, gt=0)
    band: int = Field(7, ge=1)
    detail_gain: float = Field(0.05, gt=0)
    use_norm: bool = False
    use_channel_mod: bool = False
    use_content_aware: bool = False


class MicroOptions(ClassicOptions):
    """20 k parameters."""

    type: Literal["paragonsr2_micro"] = "paragonsr2_micro"
    purpose = "fast on weak hardware, slightly better than nano"
    legacy = ClassicOptions.legacy | {"upsampler_alpha": 0.45}
    num_feat: int = Field(16, ge=1)
    num_groups: int = Field(1, ge=1)
    num_blocks: int = Field(default_factory=_by_structure(compact=7, dual=2), ge=1)
    expansion: float = Field(1.5, gt=0)
    band: int = Field(7, ge=1)
    detail_gain: float = Field(0.08, gt=0)
    use_norm: bool = False


class TinyOptions(ClassicOptions):
    """40 k parameters."""

    type: Literal["paragonsr2_tiny"] = "paragonsr2_tiny"
    purpose = "video on a consumer GPU"
    legacy = ClassicOptions.legacy | {"upsampler_alpha": 0.5}
    num_feat: int = Field(24, ge=1)
    num_groups: int = Field(2, ge=1)
    num_blocks: int = Field(default_factory=_by_structure(compact=7, dual=2), ge=1)
    expansion: float = Field(1.5, gt=0)
    band: int = Field(9, ge=1)


class XSOptions(ClassicOptions):
    """80 k parameters."""

    type: Literal["paragonsr2_xs"] = "paragonsr2_xs"
    purpose = "photographs on a small GPU"
    legacy = ClassicOptions.legacy | {"upsampler_alpha": 0.5}
    num_feat: int = Field(32, ge=1)
    num_groups: int = Field(2, ge=1)
    num_blocks: int = Field(default_factory=_by_structure(compact=8, dual=3), ge=1)
    expansion: float = Field(1.8, gt=0)


class SOptions(ClassicOptions):
    """215 k parameters."""

    type: Literal["paragonsr2_s"] = "paragonsr2_s"
    purpose = "the recommended size for photographs on a 12 GB GPU"
    legacy = ClassicOptions.legacy | {"upsampler_alpha": 0.5}
    num_feat: int = Field(48, ge=1)
    num_groups: int = Field(3, ge=1)
    num_blocks: int = Field(default_factory=_by_structure(compact=10, dual=4), ge=1)


class MOptions(ClassicOptions):
    """1.3 M parameters."""

    type: Literal["paragonsr2_m"] = "paragonsr2_m"
    purpose = "quality over speed"
    legacy = ClassicOptions.legacy | {"upsampler_alpha": 0.5}
    structure: Literal["compact", "dual"] = "dual"
    num_feat: int = Field(64, ge=1)
    num_groups: int = Field(4, ge=1)
    num_blocks: int = Field(6, ge=1)
    fast_body_mode: bool = False


class LOptions(ClassicOptions):
    """5.2 M parameters."""

    type: Literal["paragonsr2_l"] = "paragonsr2_l"
    purpose = "high quality on a large GPU"
    legacy = ClassicOptions.legacy | {"upsampler_alpha": 0.55, "use_attention": False}
    structure: Literal["compact", "dual"] = "dual"
    num_feat: int = Field(96, ge=1)
    num_groups: int = Field(6, ge=1)
    num_blocks: int = Field(8, ge=1)
    fast_body_mode: bool = False
    band: int = Field(13, ge=1)


class XLOptions(ClassicOptions):
    """14.5 M parameters."""

    type: Literal["paragonsr2_xl"] = "paragonsr2_xl"
    purpose = "the highest PSNR at any cost"
    legacy = ClassicOptions.legacy | {"upsampler_alpha": 0.6, "use_attention": False}
    structure: Literal["compact", "dual"] = "dual"
    num_feat: int = Field(128, ge=1)
    num_groups: int = Field(8, ge=1)
    num_blocks: int = Field(10, ge=1)
    fast_body_mode: bool = False
    band: int = Field(15, ge=1)
