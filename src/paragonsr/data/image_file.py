"""Opening of image files: formats, strictness and orientation.

libvips decodes; Pillow handles BMP, which libvips does not read. The format is detected from the content and must be on
an explicit list, so that other files with an image's name never reach an external library.
"""

from pathlib import Path
from typing import Any

from paragonsr.errors import UserError

LOADERS = ("Png", "Jpeg", "Webp", "Tiff", "Heif")
"""Formats that libvips may decode; Heif is for AVIF, if its codec is installed."""
BMP = b"BM"
"""First bytes of a BMP file."""
ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".avif"})
"""Extensions of image files, in lower case."""
LARGEST_PIXELS = 4_000_000_000
"""Number of pixels above which a file is treated as a decompression bomb."""
ICC = "icc-profile-data"
FIX = "Replace the file or remove it."


def open_image(path: Path) -> Any:
    """Open an image file; its pixels are decoded on demand.

    The EXIF orientation is applied, palettes are resolved, and CMYK is converted to sRGB. Only the first of several
    frames or pages is used. Damaged pixels are an error; damaged text and other ancillary data are not.

    Returns:
        a pyvips.Image with 1 to 4 bands of 8, 16 or 32 bits.

    Raises:
        UserError: the file cannot be used; the message says why.
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
    """EXIF orientation, 1 to 8; 1 (upright) if the file has none.

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
        # By descriptor: a name may contain any bytes, and brackets, which libvips interprets as options.
        source = pyvips.Source.new_from_descriptor(file.fileno())
    if not _is_of_the_list(source):
        raise ValueError
    return pyvips.Image.new_from_source(source, "", fail_on="error")


def _is_of_the_list(source: Any) -> bool:
    """Whether the content is in one of the allowed formats."""
    import pyvips
    from pyvips import ffi, vips_lib

    found = vips_lib.vips_foreign_find_load_source(source.pointer)
    name = "" if found == ffi.NULL else ffi.string(found).decode()
    if not name:
        pyvips.Error("")  # clears the message of the failed search from libvips' buffer
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
    """Error that says why a file could not be opened or decoded."""
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
    """Last line of a library's error message that names a cause."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    telling = [line for line in lines if line and not line.endswith("load error")]
    return (telling or lines or [""])[-1]
