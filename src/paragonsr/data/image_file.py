"""The one way an image file is opened: which formats, how strictly, which way up.

libvips decodes; BMP, which it does not read, goes through Pillow. The format is told by the content, from an explicit
list, so that a file of another kind under an image's name never reaches a foreign program.
"""

from pathlib import Path
from typing import Any

from paragonsr.errors import UserError

LOADERS = ("Png", "Jpeg", "Webp", "Tiff", "Heif")
"""Formats that libvips may decode; Heif is AVIF where its codec is there."""
BMP = b"BM"
"""First bytes of a BMP file."""
ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".avif"})
"""Endings of image files, in lower case."""
LARGEST_PIXELS = 4_000_000_000
"""Pixels beyond which a file is taken for a decompression bomb."""
ICC = "icc-profile-data"
FIX = "Replace the file or remove it."


def open_image(path: Path) -> Any:
    """Open an image file; its pixels are decoded when they are asked for.

    EXIF's orientation is applied, palettes are resolved, CMYK becomes sRGB. Of several frames or pages it is the first.
    Damage is an error; damaged text and other ancillary data is not.

    Returns:
        a pyvips.Image of 1 to 4 bands, of 8, 16 or 32 bits.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    import pyvips

    try:
        image = _loaded(path)
        if image.width * image.height > LARGEST_PIXELS:
            raise UserError(
                f"has more than {LARGEST_PIXELS // 10**6} million pixels", where=str(path), fix="Cut it into tiles."
            )
        image = image.autorot()
        if image.interpretation == "cmyk":
            image = image.icc_transform("srgb") if image.get_typeof(ICC) else image.colourspace("srgb")
    except (pyvips.Error, OSError, ValueError, SyntaxError) as error:
        raise unreadable(path, error) from error
    return image


def orientation(path: Path) -> int:
    """EXIF's orientation, 1 to 8; 1 (upright) where the file has none.

    Raises:
        UserError: the file cannot be read.
    """
    import pyvips

    try:
        image = _loaded(path)
        return int(image.get("orientation")) if image.get_typeof("orientation") else 1
    except (pyvips.Error, OSError, ValueError, SyntaxError) as error:
        raise unreadable(path, error) from error


def _loaded(path: Path) -> Any:
    import pyvips

    with path.open("rb") as file:
        if file.read(len(BMP)) == BMP:
            return _bmp(path)
        file.seek(0)
        # By its descriptor: a name may hold any bytes, and brackets, which libvips takes for options.
        source = pyvips.Source.new_from_descriptor(file.fileno())
    if not _is_of_the_list(source):
        raise ValueError
    return pyvips.Image.new_from_source(source, "", fail_on="error")


def _is_of_the_list(source: Any) -> bool:
    """Whether the content is of one of the formats that may be decoded."""
    import pyvips
    from pyvips import ffi, vips_lib

    found = vips_lib.vips_foreign_find_load_source(source.pointer)
    name = "" if found == ffi.NULL else ffi.string(found).decode()
    if not name:
        pyvips.Error("")  # takes the message of the failed search out of libvips' buffer
    return any(name == f"VipsForeignLoad{loader}Source" for loader in LOADERS)


def _bmp(path: Path) -> Any:
    import numpy as np
    import pyvips
    from PIL import Image

    try:
        with Image.open(path, formats=("BMP",)) as file:
            return pyvips.Image.new_from_array(np.asarray(file.convert("RGB"))).copy(interpretation="srgb")
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error


def unreadable(path: Path, error: BaseException) -> UserError:
    """What is wrong with a file that could not be opened or decoded."""
    if isinstance(error, FileNotFoundError):
        return UserError("does not exist", where=str(path))
    if isinstance(error, PermissionError):
        return UserError("cannot be read (no permission)", where=str(path))
    if isinstance(error, IsADirectoryError):
        return UserError("is a folder", where=str(path))
    if path.is_file() and path.stat().st_size == 0:
        reason = "is empty (0 bytes)"
    elif not said(error):
        reason = "is not an image, or its header is damaged"
    else:
        reason = f"cannot be decoded: {said(error)}"
    return UserError(reason, where=str(path), fix=FIX)


def said(error: BaseException) -> str:
    """The last line of what a library says that names a cause."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    telling = [line for line in lines if line and not line.endswith("load error")]
    return (telling or lines or [""])[-1]
