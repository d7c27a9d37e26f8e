"""Compression as a key frame of a video, through PyAV: H.264, H.265, MPEG-2 and VP9."""

from fractions import Fraction
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from pydantic import Field

from paragonsr.degradation.base import Image, Parameters
from paragonsr.degradation.codec import Codec, CodecOptions
from paragonsr.degradation.colour import from_ycbcr, to_ycbcr
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.options import Range, within
from paragonsr.degradation.resize import resized
from paragonsr.degradation.step import to_bytes, to_planes
from paragonsr.errors import UserError

_LEAST = 64
"""Smallest side of a frame that all encoders take, in pixels."""


class VideoOptions(CodecOptions):
    """A key frame of a video: Y'CbCr of BT.601 in the studio range, chroma subsampling 420. Needs the extra `video`."""

    qp: Range
    """Quantiser, a whole number."""


class H264Options(VideoOptions):
    """Compresses as a key frame of H.264 (AVC), by x264."""

    type: Literal["h264"] = "h264"
    target = "paragonsr.degradation.video_codecs:H264"
    qp: Annotated[Range, within(0, 51)] = Field([18, 38])
    """Quantiser, a whole number; 6 more double the step."""


class H265Options(VideoOptions):
    """Compresses as a key frame of H.265 (HEVC), by x265."""

    type: Literal["h265"] = "h265"
    target = "paragonsr.degradation.video_codecs:H265"
    qp: Annotated[Range, within(0, 51)] = Field([20, 40])
    """Quantiser, a whole number; 6 more double the step."""


class MPEG2Options(VideoOptions):
    """Compresses as a key frame of MPEG-2 (DVDs)."""

    type: Literal["mpeg2"] = "mpeg2"
    target = "paragonsr.degradation.video_codecs:MPEG2"
    qp: Annotated[Range, within(1, 31)] = Field([2, 14])
    """Quantiser scale, a whole number; the step is proportional."""


class VP9Options(VideoOptions):
    """Compresses as a key frame of VP9, by libvpx."""

    type: Literal["vp9"] = "vp9"
    target = "paragonsr.degradation.video_codecs:VP9"
    qp: Annotated[Range, within(0, 63)] = Field([20, 50])
    """Quantiser, a whole number."""


V = TypeVar("V", bound=VideoOptions)


class VideoCodec(Codec[V], Generic[V]):
    """Encodes and decodes one frame.

    Raises:
        UserError: PyAV is not installed, or lacks the codec.
    """

    grid = 16
    encoder: ClassVar[str]
    decoder: ClassVar[str]

    def __init__(self, options: V) -> None:
        super().__init__(options)
        try:
            import av
        except ImportError:
            raise UserError(
                "video codecs need the package av",
                where=f"degradation: {options.type}",
                fix="pip install 'paragonsr[video]'",
            ) from None
        self._av: Any = av
        for name, mode in ((self.encoder, "w"), (self.decoder, "r")):
            if name not in av.codecs_available:
                raise UserError(
                    f"this installation of PyAV lacks the codec {name} ({'encoding' if mode == 'w' else 'decoding'})",
                    where=f"degradation: {options.type}",
                    fix="Install the wheel of av from PyPI, which includes it, or remove this step.",
                )

    def recode(self, image: Image, draws: Draws) -> tuple[Image, Parameters]:
        """See `Codec`."""
        qp = draws.whole(self.options.qp)
        height, width = image.shape[:2]
        below, right = (max(side + side % 2, _LEAST) - side for side in (height, width))
        planes = self._coded(_studio(np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")), qp)
        return _full_range(planes)[:height, :width], {"qp": qp}

    def settings(self, qp: int) -> dict[str, str]:
        """Private options of the encoder."""
        return {}

    def _coded(self, planes: list[np.ndarray], qp: int) -> list[np.ndarray]:
        """Encode and decode Y', Cb and Cr."""
        height, width = planes[0].shape
        encoder = self._av.CodecContext.create(self.encoder, "w")
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base, encoder.framerate, encoder.gop_size = Fraction(1, 25), Fraction(25), 1
        encoder.thread_count, encoder.options = 1, self.settings(qp)
        encoder.qmin = encoder.qmax = qp
        frame = self._av.VideoFrame(width, height, "yuv420p")
        for plane, samples in zip(frame.planes, planes, strict=True):
            rows = np.zeros((plane.height, plane.line_size), np.uint8)
            rows[:, : plane.width] = samples
            plane.update(rows)
        frame.pts = 0
        decoder = self._av.CodecContext.create(self.decoder, "r")
        decoder.thread_count = 1
        packets = [*encoder.encode(frame), *encoder.encode(None)]
        (decoded,) = [f for packet in [*packets, None] for f in decoder.decode(packet)]
        return [
            np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            for plane in decoded.planes
        ]


class H264(VideoCodec[H264Options]):
    """See the options."""

    encoder, decoder = "libx264", "h264"

    def settings(self, qp: int) -> dict[str, str]:
        """See `VideoCodec`."""
        return {"qp": str(qp), "preset": "veryfast"}


class H265(VideoCodec[H265Options]):
    """See the options."""

    encoder, decoder = "libx265", "hevc"

    def settings(self, qp: int) -> dict[str, str]:
        """See `VideoCodec`."""
        return {"preset": "veryfast", "x265-params": f"qp={qp}:pools=none:frame-threads=1:log-level=none"}


class MPEG2(VideoCodec[MPEG2Options]):
    """See the options."""

    encoder, decoder = "mpeg2video", "mpeg2video"


class VP9(VideoCodec[VP9Options]):
    """See the options."""

    encoder, decoder = "libvpx-vp9", "vp9"

    def settings(self, qp: int) -> dict[str, str]:
        """See `VideoCodec`."""
        return {"crf": str(qp), "deadline": "realtime", "cpu-used": "6", "lag-in-frames": "0"}


def _studio(image: Image) -> list[np.ndarray]:
    """Y' (16 .. 235), Cb and Cr (16 .. 240, means over 2 x 2 pixels) of an image with even sides."""
    y, cb, cr = to_ycbcr(to_planes(image))
    luma = y * np.float32(219 / 255) + np.float32(16)
    small = [c.reshape(c.shape[0] // 2, 2, c.shape[1] // 2, 2).mean(axis=(1, 3)) for c in (cb, cr)]
    chroma = [(c - 128) * np.float32(224 / 255) + np.float32(128) for c in small]
    return [np.clip(np.rint(plane), 0, 255).astype(np.uint8) for plane in (luma, *chroma)]


def _full_range(planes: list[np.ndarray]) -> Image:
    """Inverse of `_studio`; chroma is interpolated linearly."""

    y = (planes[0].astype(np.float32) - 16) * np.float32(255 / 219)
    small = np.stack(planes[1:]).astype(np.float32)
    chroma = (resized(small, y.shape[0], y.shape[1], "bilinear") - 128) * np.float32(255 / 224) + np.float32(128)
    return to_bytes(from_ycbcr(np.concatenate([y[None], chroma])))
