"""What kinds of file become which RGB samples."""

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

from paragonsr.data.images import image_size, read_image, write_png
from paragonsr.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
GREY = RGB[..., 0]
ALPHA = RGB[..., 1:2]
DEEP = np.random.default_rng(1).integers(0, 65536, (6, 9, 4), np.uint16)
DEEP[0, :6, 0] = 0, 128, 129, 32896, 65406, 65407  # below and above the halves between two 8-bit steps


def _png16(path: Path, image: NDArray[np.uint16]) -> Path:
    """Write 16 bits a sample, 1 to 4 channels; Pillow cannot."""
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
    with pytest.raises(UserError, match="32-bit samples are not supported"):
        read_image(tmp_path / "a.tif")


def test_cmyk_is_converted_without_a_profile(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, 0].tolist() == [0, 255, 255]


def test_exif_orientation_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)
    assert image_size(tmp_path / "a.png") == (6, 9)


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
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for read in (read_image, image_size):
        with pytest.raises(UserError, match="million pixels") as caught:
            read(tmp_path / "a.png")
        assert "tiles" in caught.value.fix


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
