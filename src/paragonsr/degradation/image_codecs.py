"""Compression as JPEG, WebP, AVIF and HEIF."""

import io
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image as PillowImage
from PIL import features
from pydantic import AfterValidator, Field

from paragonsr.degradation.base import Image, Parameters
from paragonsr.degradation.codec import Codec, CodecOptions
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.options import Range, some_weight, within
from paragonsr.errors import UserError

Subsampling = Literal["444", "422", "420"]
_OF_JPEG: dict[Subsampling, int] = {"444": 0, "422": 1, "420": 2}


class JPEGOptions(CodecOptions):
    """Compresses as JPEG, by libjpeg-turbo with the quantisation tables of the standard."""

    type: Literal["jpeg"] = "jpeg"
    target = "paragonsr.degradation.image_codecs:JPEG"
    quality: Annotated[Range, within(1, 100)] = Field([30, 95])
    """Quality as libjpeg scales it, a whole number."""
    subsampling: Annotated[dict[Subsampling, float], AfterValidator(some_weight)] = Field({"420": 1.0})
    """Relative frequencies of the chroma subsamplings 444, 422 and 420."""


class WebPOptions(CodecOptions):
    """Compresses as lossy WebP, by libwebp."""

    type: Literal["webp"] = "webp"
    target = "paragonsr.degradation.image_codecs:WebP"
    quality: Annotated[Range, within(0, 100)] = Field([30, 95])
    """Quality as libwebp takes it, a whole number."""
    method: int = Field(4, ge=0, le=6)
    """Effort of the encoder, from 0 (fast) to 6."""


class AVIFOptions(CodecOptions):
    """Compresses as AVIF, by libavif."""

    type: Literal["avif"] = "avif"
    target = "paragonsr.degradation.image_codecs:AVIF"
    quality: Annotated[Range, within(0, 100)] = Field([30, 90])
    """Quality as libavif takes it, a whole number."""
    speed: int = Field(6, ge=0, le=10)
    """Speed of the encoder, from 0 (best) to 10."""


class HEIFOptions(CodecOptions):
    """Compresses as HEIF with HEVC (the photographs of iPhones), by libheif; few builds of libvips include it."""

    type: Literal["heif"] = "heif"
    target = "paragonsr.degradation.image_codecs:HEIF"
    quality: Annotated[Range, within(1, 100)] = Field([30, 90])
    """Quality as libheif takes it, a whole number."""


class JPEG(Codec[JPEGOptions]):
    """See the options."""

    grid = 16

    def recode(self, image: Image, draws: Draws) -> tuple[Image, Parameters]:
        """See `Codec`."""
        quality, subsampling = draws.whole(self.options.quality), draws.choice(self.options.subsampling)
        coded = jpeg_bytes(image, quality, subsampling)
        return _jpeg_image(coded, image.shape), {"quality": quality, "subsampling": subsampling}


class WebP(Codec[WebPOptions]):
    """See the options.

    Raises:
        UserError: Pillow was built without WebP.
    """

    grid = 16

    def __init__(self, options: WebPOptions) -> None:
        super().__init__(options)
        _require("webp", "WebP")

    def recode(self, image: Image, draws: Draws) -> tuple[Image, Parameters]:
        """See `Codec`."""
        quality = draws.whole(self.options.quality)
        return _opened(_saved(image, "WEBP", quality=quality, method=self.options.method)), {"quality": quality}


class AVIF(Codec[AVIFOptions]):
    """See the options.

    Raises:
        UserError: Pillow was built without AVIF.
    """

    grid = 64

    def __init__(self, options: AVIFOptions) -> None:
        super().__init__(options)
        _require("avif", "AVIF")

    def recode(self, image: Image, draws: Draws) -> tuple[Image, Parameters]:
        """See `Codec`."""
        quality = draws.whole(self.options.quality)
        coded = _saved(image, "AVIF", quality=quality, speed=self.options.speed, max_threads=1)
        return _opened(coded), {"quality": quality}


class HEIF(Codec[HEIFOptions]):
    """See the options.

    Raises:
        UserError: libvips was built without an encoder of HEVC.
    """

    grid = 64

    def __init__(self, options: HEIFOptions) -> None:
        import pyvips

        super().__init__(options)
        try:
            _heif(np.zeros((64, 64, 3), np.uint8), 50)
        except (pyvips.Error, AttributeError):
            raise UserError(
                "this installation of libvips cannot write HEIF",
                where="degradation: heif",
                fix="Use avif instead, or install a libvips with libheif and x265.",
            ) from None

    def recode(self, image: Image, draws: Draws) -> tuple[Image, Parameters]:
        """See `Codec`."""
        quality = draws.whole(self.options.quality)
        return _heif(image, quality), {"quality": quality}


def jpeg_bytes(image: Image, quality: int, subsampling: Subsampling) -> bytes:
    """Content of a JPEG file."""
    return _saved(image, "JPEG", quality=quality, subsampling=_OF_JPEG[subsampling])


def _saved(image: Image, of: str, **settings: Any) -> bytes:
    content = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(image)).save(content, format=of, **settings)
    return content.getvalue()


def _jpeg_image(content: bytes, shape: tuple[int, ...]) -> Image:
    """Decode an image of a known size, without the header that `PillowImage.open` reads in Python."""
    return np.asarray(PillowImage.frombytes("RGB", (shape[1], shape[0]), content, "jpeg", "RGB", ""))


def _opened(content: bytes) -> Image:
    with PillowImage.open(io.BytesIO(content)) as file:
        return np.asarray(file if file.mode == "RGB" else file.convert("RGB"))


def _heif(image: Image, quality: int) -> Image:
    import pyvips

    height, width = image.shape[:2]
    saved = pyvips.Image.new_from_memory(np.ascontiguousarray(image).data, width, height, 3, "uchar")
    content = saved.copy(interpretation="srgb").heifsave_buffer(Q=quality, compression="hevc")
    decoded: Image = pyvips.Image.new_from_buffer(content, "").numpy()[..., :3]
    return decoded


def _require(feature: str, name: str) -> None:
    if not features.check(feature):
        raise UserError(
            f"this installation of Pillow cannot write {name}",
            where=f"degradation: {feature}",
            fix="pip install --upgrade pillow",
        )
