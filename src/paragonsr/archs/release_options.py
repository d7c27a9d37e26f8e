"""Options of the release family: paragonsr2_{realtime,stream,photo,pro}."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from paragonsr.archs.paragon_options import ParagonOptions


class ReleaseOptions(ParagonOptions):
    """The release family: the networks whose weights were published in December 2025."""

    target = "paragonsr.archs.paragonsr2_release:build"
    family = "release"
    block: ClassVar[Literal["nano", "stream", "photo", "pro"]]
    """Kind of the body's blocks."""
    legacy: ClassVar[dict[str, Any]] = ParagonOptions.legacy | {
        "window_mask": False,
        "positions": "none",
        "attention_scales": "shared",
        "export_keeps_attention": False,
        "pooling": "global",
        "layer_scale": 1e-5,
        "upsampler_alpha": 0.0,  # R5: used to train the published weights, although the published code has 0.3 or 0.4
    }

    in_chans: Literal[3] = 3
    """Channels of the image; RGB only."""
    num_feat: int = Field(64, ge=4)
    """Channels of the body."""
    num_groups: int = Field(4, ge=1)
    """Groups of blocks; they only affect the names of the tensors."""
    num_blocks: int = Field(4, ge=1)
    """Blocks per group."""
    detail_gain: float = Field(0.1, gt=0)
    """Initial value of the trained factor on the learned detail."""
    layer_scale: float = Field(0.1, gt=0)
    """Initial factors on the branches of a block."""
    attention_mode: Literal["sdpa", "flex", "none"] | None = "sdpa"
    """Window attention (photo, pro): none removes it; flex, from older configurations, is the same as sdpa."""
    window_size: int = Field(16, ge=2)
    """R5. Side of an attention window, in LR pixels; stored with the weights."""
    window_mask: bool = True
    """R1, R2. Keep opposite borders and padding from attending to each other; false, as published, mixes them."""
    positions: Literal["rotary", "none"] = "rotary"
    """R3. Positional encoding of the attention: rotary embedding on both axes (2403.13298); none, as published."""
    attention_scales: Literal["own", "shared"] = "own"
    """R4. Whether a photo block's attention has its own factors or, as published, shares those of the convolutions."""
    export_safe: bool = False
    """Accepted for older configurations; see export_keeps_attention."""
    export_keeps_attention: bool = True
    """R6. false, as published, removes attention if export_safe is set; attention can be exported as it is."""
    pooling: Literal["local", "global"] = "local"
    """Region that channel attention (pro) averages over: see the classic family."""
    pool_window: int = Field(64, ge=1)
    """Side of the local pooling neighbourhood, in LR pixels."""
    use_checkpointing: bool = False
    """Recompute blocks in the backward pass: a third more time, far less memory, same result."""

    @property
    def has_attention(self) -> bool:
        """Whether photo and pro blocks are built with window attention."""
        dropped = self.export_safe and not self.export_keeps_attention
        return self.attention_mode in ("sdpa", "flex") and not dropped


class RealtimeOptions(ReleaseOptions):
    """17 k parameters."""

    type: Literal["paragonsr2_realtime"] = "paragonsr2_realtime"
    purpose = "video in real time"
    block = "nano"
    num_feat: int = Field(16, ge=4)
    num_groups: int = Field(1, ge=1)
    num_blocks: int = Field(3, ge=1)
    detail_gain: float = Field(0.05, gt=0)


class StreamOptions(ReleaseOptions):
    """110 k parameters."""

    type: Literal["paragonsr2_stream"] = "paragonsr2_stream"
    purpose = "compressed video, with a larger receptive field"
    block = "stream"
    num_feat: int = Field(32, ge=4)
    num_groups: int = Field(2, ge=1)
    num_blocks: int = Field(3, ge=1)


class PhotoOptions(ReleaseOptions):
    """745 k parameters."""

    type: Literal["paragonsr2_photo"] = "paragonsr2_photo"
    purpose = "photographs, with window attention"
    block = "photo"


class ProOptions(ReleaseOptions):
    """2 M parameters."""

    type: Literal["paragonsr2_pro"] = "paragonsr2_pro"
    purpose = "the best of the release family, but slow"
    block = "pro"
    num_groups: int = Field(6, ge=1)
    num_blocks: int = Field(6, ge=1)
