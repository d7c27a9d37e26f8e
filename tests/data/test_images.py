"""Decoding of different kinds of files to RGB samples."""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from paragonsr.data import image_file, images
from paragonsr.data.image_file import ENDINGS
from paragonsr.data.images import image_size, read_image, write_png
from paragonsr.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
GREY = RGB[..., 0]
ALPHA = RGB[..., 1:2]
DEEP = np.random.default_rng(1).integers(0, 65536, (6, 9, 4), np.uint16)
DEEP[0, :6, 0] = 0, 128, 129, 32896, 65406, 65407  # below and above the halves between two 8-bit steps


def _png16(path: Path, image: NDArray[np.uint16]) -> Path:
    """Write 16 bits per sample, 1 to 4 channels, which Pillow cannot."""
    height, width, channels = image.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
            file.write(struct.pack(">I", len(content)) + kind + content)
            file.write(struct.pack(">I", zlib.crc32(kind + content)))
    return path


def _rounded(deep: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return np.rint(deep / 257).astype(np.uint8)


def _grey3(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([grey] * 3, axis=2)


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.bmp", "a.tif", "a.tiff"])
def test_lossless_formats_give_what_was_written(tmp_path: Path, name: str) -> None:
    Image.fromarray(RGB).save(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name), RGB)
    assert image_size(tmp_path / name) == (6, 9)


def test_lossless_webp(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp"), RGB)


def test_grey_counts_as_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), _grey3(GREY))


def test_alpha_is_dropped_not_composited(tmp_path: Path) -> None:
    Image.fromarray(np.concatenate([RGB, ALPHA], axis=2)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)
    Image.fromarray(np.concatenate([GREY[..., None], ALPHA], axis=2)).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), _grey3(GREY))


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(0, 250, 10))], ids=["opaque", "one", "each"])
def test_a_palette_is_resolved(tmp_path: Path, transparency: int | bytes | None) -> None:
    colours = np.random.default_rng(2).integers(0, 256, (54, 3), np.uint8)
    file = Image.fromarray(np.arange(54, dtype=np.uint8).reshape(6, 9), mode="P")
    file.putpalette(colours.tobytes())
    keys = {} if transparency is None else {"transparency": transparency}
    file.save(tmp_path / "a.png", **keys)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), colours.reshape(6, 9, 3))


def test_one_bit(tmp_path: Path) -> None:
    bits = GREY > 127
    Image.fromarray(bits).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), _grey3(bits.astype(np.uint8) * 255))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_is_rounded_not_cut(tmp_path: Path, channels: int) -> None:
    result = read_image(_png16(tmp_path / "a.png", DEEP[..., :channels]))
    colours = DEEP[..., :3] if channels > 2 else np.stack([DEEP[..., 0]] * 3, axis=2)
    np.testing.assert_array_equal(result, _rounded(colours))
    assert not np.array_equal(_rounded(colours), colours >> 8), "the test would not notice cutting"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_tiff(tmp_path: Path, order: str, channels: int, compression: str | None) -> None:
    image = DEEP[..., 0] if channels == 1 else DEEP[..., :3]
    kind = "minisblack" if channels == 1 else "rgb"
    tifffile.imwrite(tmp_path / "a.tif", image, byteorder=order, photometric=kind, compression=compression)
    expected = _rounded(image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), _grey3(expected) if channels == 1 else expected)


def test_32_bit_samples_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match="samples of type float32, which are not supported"):
        read_image(tmp_path / "a.tif")


def test_cmyk_becomes_srgb(tmp_path: Path) -> None:
    for ink, expected in (((255, 0, 0, 0), "cyan"), ((0, 0, 0, 0), "white"), ((0, 0, 0, 255), "black")):
        Image.new("CMYK", (8, 8), ink).save(tmp_path / "a.tif")
        red, green, blue = read_image(tmp_path / "a.tif")[0, 0].tolist()
        assert {"cyan": red < 60 < green < blue, "white": min(red, green, blue) > 250, "black": red < 60}[expected]


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(RGB, turns)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), upright)
    assert image_size(tmp_path / "a.png") == upright.shape[:2]


@pytest.mark.parametrize("ending", ["jpg", "JPE", "jfif", "avif", "BMP", "webp"])
def test_every_ending_of_the_list_is_read(tmp_path: Path, ending: str) -> None:
    import pyvips

    file = tmp_path / f"a.{ending}"
    grey = np.full((16, 24, 3), 120, np.uint8)
    if ending == "avif":
        pyvips.Image.new_from_array(grey).heifsave(str(file), compression="av1")
    else:
        Image.fromarray(grey).save(
            file, format={"jpe": "JPEG", "jfif": "JPEG", "jpg": "JPEG"}.get(ending.lower(), ending)
        )
    assert file.suffix.lower() in ENDINGS
    assert np.abs(read_image(file).astype(int) - 120).max() <= 2


def _png_with(chunk: bytes) -> bytes:
    """A PNG with an additional chunk before its pixels."""
    out = io.BytesIO()
    Image.fromarray(RGB).save(out, "PNG")
    return out.getvalue()[:33] + chunk + out.getvalue()[33:]


def test_text_that_is_damaged_or_long_does_not_stop_an_image(tmp_path: Path) -> None:
    text = b"tEXtComment\0" + b"x" * 50
    wrong = struct.pack(">I", len(text) - 4) + text + b"\0\0\0\0"
    packed = b"zTXtworkflow\0\0" + zlib.compress(bytes(3_000_000))
    long = struct.pack(">I", len(packed) - 4) + packed + struct.pack(">I", zlib.crc32(packed))
    for chunk in (wrong, long):
        (tmp_path / "a.png").write_bytes(_png_with(chunk))
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)


@pytest.mark.parametrize(
    "content",
    [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", b"<svg width='9' height='9'/>", b"%PDF-1.4"],
)
def test_other_formats_under_an_images_name_are_not_opened(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match="is not an image"):
        read_image(tmp_path / "a.png")


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
@pytest.mark.parametrize("name", [b"\x83e\x83X.png", b"a[page=1].png", b"n" * 251 + b".png"])
def test_any_name_that_a_file_can_have(tmp_path: Path, name: bytes) -> None:
    file = tmp_path / os.fsdecode(name)
    write_png(file, RGB)
    np.testing.assert_array_equal(read_image(file), RGB)
    assert os.listdir(tmp_path) == [file.name]


def test_of_several_pages_the_first_is_read(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(255 - RGB)])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), RGB)


def test_damaged_files_are_named_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(UserError, match="does not exist") as missing:
        read_image(path)
    assert missing.value.where == str(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"is empty \(0 bytes\)"):
        image_size(path)
    path.write_bytes(b"no image at all, whatever it is called")
    with pytest.raises(UserError, match="is not an image"):
        image_size(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp"])
def test_a_file_cut_in_the_middle_is_an_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UserError) as caught:
        read_image(path)
    assert caught.value.where == str(path)


def test_a_changed_byte_in_a_png_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be decoded"):
        read_image(path)


def test_more_pixels_than_memory_should_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "MOST_PIXELS", 10)
    with pytest.raises(UserError, match="million pixels") as caught:
        read_image(tmp_path / "a.png")
    assert "tiles" in caught.value.fix
    monkeypatch.setattr(image_file, "LARGEST_PIXELS", 10)
    with pytest.raises(UserError, match="million pixels"):
        image_size(tmp_path / "a.png")


def test_write_png_makes_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_png(tmp_path / "new/deep/a.png", RGB[:, ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "new/deep/a.png"), RGB[:, ::-1])
    assert [file.name for file in (tmp_path / "new/deep").iterdir()] == ["a.png"]


def test_write_png_that_fails_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_png(tmp_path / "a.png", RGB)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_png(tmp_path / "a.png", 255 - RGB)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
