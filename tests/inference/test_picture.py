"""Every kind of image file in and out, sample by sample."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from paragonsr.errors import UserError
from paragonsr.inference.picture import Picture


def _pixels(channels: int, dtype: type, height: int = 13, width: int = 21) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(channels).integers(0, top + 1, (height, width, channels)).astype(dtype)


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lossless_formats_keep_every_sample(tmp_path: Path, ending: str, channels: int, dtype: type) -> None:
    pixels = _pixels(channels, dtype)
    pyvips.Image.new_from_array(pixels[..., :1].repeat(3, 2) if channels > 2 else pixels[..., :1]).copy().pngsave(
        str(tmp_path / "any.png")
    )
    Picture.open(tmp_path / "any.png").save(pixels, tmp_path / f"out{ending}")
    again = Picture.open(tmp_path / f"out{ending}")
    assert (again.height, again.width, again.channels, again.dtype) == (13, 21, channels, dtype)
    np.testing.assert_array_equal(again.pixels, pixels)
    np.testing.assert_array_equal(again.read(slice(2, 9), slice(5, 6)), pixels[2:9, 5:6])


def test_pillow_reads_what_is_written(tmp_path: Path) -> None:
    pixels = _pixels(4, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    Picture.open(tmp_path / "in.png").save(pixels, tmp_path / "out.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), pixels)


@pytest.mark.parametrize("ending", [".jpg", ".webp"])
def test_lossy_formats_are_close(tmp_path: Path, ending: str) -> None:
    y, x = np.mgrid[0:64, 0:80]
    pixels = np.stack([y * 3, x * 2, 255 - y * 2], -1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    Picture.open(tmp_path / "in.png").save(pixels, tmp_path / f"out{ending}")
    again = Picture.open(tmp_path / f"out{ending}").pixels
    assert np.abs(again.astype(int) - pixels).mean() < 2


def _palette(path: Path) -> np.ndarray:
    image = Image.fromarray(_pixels(3, np.uint8)).quantize(16)
    image.save(path)
    return np.asarray(image.convert("RGB"))


def _orientation(path: Path) -> np.ndarray:
    pixels = np.full((8, 16, 3), 40, np.uint8)
    pixels[:, 8:] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # stored rotated: must be turned clockwise
    Image.fromarray(pixels).save(path, exif=exif)
    return np.rot90(pixels, -1)


def _bilevel(path: Path) -> np.ndarray:
    pixels = _pixels(1, np.uint8)[..., 0] > 127
    Image.fromarray(pixels).save(path)
    return (pixels * np.uint8(255))[..., None]


def _animated(path: Path) -> np.ndarray:
    frames = [_pixels(3, np.uint8), _pixels(4, np.uint8)[..., :3]]
    Image.fromarray(frames[0]).save(path, save_all=True, append_images=[Image.fromarray(frames[1])])
    return frames[0]


@pytest.mark.parametrize(
    ("ending", "write"), [(".png", _palette), (".png", _orientation), (".png", _bilevel), (".tif", _animated)]
)
def test_other_layouts_are_resolved(tmp_path: Path, ending: str, write: Callable[[Path], np.ndarray]) -> None:
    path = tmp_path / f"in{ending}"
    expected = write(path)
    np.testing.assert_array_equal(Picture.open(path).pixels, expected)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (20, 10), (0, 255, 255, 0)).save(tmp_path / "in.jpg", quality=100)
    picture = Picture.open(tmp_path / "in.jpg")
    red, green, blue = picture.pixels.reshape(-1, 3).mean(0)
    assert picture.channels == 3
    assert red > 180 > 90 > max(green, blue)


def test_the_colour_profile_is_kept(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = _pixels(3, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png", icc_profile=profile)
    Picture.open(tmp_path / "in.png").save(pixels, tmp_path / "out.tif")
    assert Image.open(tmp_path / "out.tif").info["icc_profile"] == profile


def _cut(path: Path) -> None:
    Image.fromarray(_pixels(3, np.uint8, 100, 100)).save(path)
    path.write_bytes(path.read_bytes()[:-9000])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"no image"), "is not an image"),
        (_cut, "cannot be decoded"),
        (lambda path: None, "does not exist"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, spoil: Callable[[Path], None], said: str) -> None:
    path = tmp_path / "in.png"
    spoil(path)
    with pytest.raises(UserError, match=said) as caught:
        _ = Picture.open(path).pixels
    assert str(path) in str(caught.value)


def test_what_a_format_cannot_hold_is_refused_before_the_work(tmp_path: Path) -> None:
    Image.fromarray(_pixels(4, np.uint8)).save(tmp_path / "alpha.png")
    with pytest.raises(UserError, match="alpha"):
        Picture.open(tmp_path / "alpha.png").check_target(tmp_path / "out.jpg", 2)
    Image.new("L", (9000, 1)).save(tmp_path / "long.png")
    with pytest.raises(UserError, match="18000 pixels long"):
        Picture.open(tmp_path / "long.png").check_target(tmp_path / "out.webp", 2)
