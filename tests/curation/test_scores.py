"""Scores of images whose values are known."""

import io
import math
import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from paragonsr.curation.scores.hashing import hamming, perceptual_hash
from paragonsr.curation.scores.optional import open_scorer
from paragonsr.curation.scores.registry import SCORES, score_image
from paragonsr.errors import UserError

Pixels = NDArray[np.uint8]


def rgb(grey: np.ndarray) -> Pixels:
    """Three equal channels of a plane, rounded and clipped."""
    return np.repeat(np.clip(np.round(grey), 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def photograph(seed: int, height: int = 192, width: int = 224) -> Pixels:
    """An edge and texture with the spectrum of a natural image, which falls with the frequency and through the lens."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    lens = np.exp(-((frequency / 0.4) ** 2))
    spectrum = np.fft.rfft2(random.normal(size=(height, width))) * lens / (frequency + 0.02)
    texture = np.fft.irfft2(spectrum, (height, width))
    image = 110 + 25 * texture / texture.std() + 40 * (x * random.uniform(0.4, 2) > y)
    return np.clip(image[..., None] + random.uniform(-20, 20, 3), 0, 255).astype(np.uint8)


def jpeg(image: Pixels, quality: int) -> Pixels:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content))


def white(sigma: float, height: int = 256, width: int = 256, seed: int = 0, level: float = 128) -> Pixels:
    """Grey with white noise, equal in the three channels."""
    return rgb(np.random.default_rng(seed).normal(level, sigma, (height, width)))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_any_size_has_every_score_within_its_range(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    low, high = np.sort(random.integers(0, 257, 2))
    image = random.integers(low, max(high, low + 1), (height, width, 3)).astype(np.uint8)
    scores = score_image(image)
    assert list(scores) == list(SCORES)
    for name, value in scores.items():
        assert isinstance(value, float)
        assert math.isfinite(value)
        assert SCORES[name].low <= value <= SCORES[name].high, name
    assert scores == score_image(image.copy())


def test_the_registry_says_what_each_score_means() -> None:
    for name, score in SCORES.items():
        assert score.name == name
        assert score.better in {"higher", "lower", "neither"}
        assert score.low < score.high
        assert score.about.endswith(".")


@pytest.mark.parametrize("level", [0, 1, 128, 255])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 3), (64, 64), (101, 77)])
def test_a_constant_image_has_nothing(level: int, size: tuple[int, int]) -> None:
    scores = score_image(np.full((*size, 3), level, np.uint8))
    assert scores.pop("brightness") == level
    assert scores.pop("clipping") == float(level in (0, 255))
    assert scores == dict.fromkeys(scores, 0.0)


def test_tones_of_two_halves() -> None:
    image = rgb(np.repeat([[50.0, 150.0]], 32, axis=0).repeat(16, axis=1))
    scores = score_image(image)
    assert scores["brightness"] == 100
    assert scores["contrast"] == 50
    assert scores["entropy"] == pytest.approx(1)


def test_a_ramp_of_all_tones() -> None:
    image = rgb(np.repeat(np.arange(256.0)[None], 64, axis=0))
    scores = score_image(image)
    assert scores["entropy"] == pytest.approx(8)
    assert scores["contrast"] == pytest.approx(math.sqrt((256**2 - 1) / 12))
    assert scores["sharpness"] == 0, "a ramp has no second derivative"
    assert scores["clipping"] == pytest.approx(2 / 256)
    assert scores["noise"] == 0
    assert scores["blockiness"] == 0


@pytest.mark.parametrize("size", [(64, 64), (33, 58)])
def test_a_checkerboard(size: tuple[int, int]) -> None:
    y, x = np.indices(size)
    scores = score_image(rgb(100 + 20 * ((x + y) % 2)))
    # Every Laplacian is 80 or -80, and their mean is nearly 0.
    assert scores["sharpness"] == pytest.approx(80**2, rel=2e-3)
    assert scores["aliasing"] == 1, "all of it is at the Nyquist frequency"
    assert scores["blockiness"] == 0


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    image = photograph(1, 57, 83)
    y = np.asarray(Image.fromarray(image).convert("L"), np.float64)
    laplacian = y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:] - 4 * y[1:-1, 1:-1]
    assert score_image(image)["sharpness"] == pytest.approx(laplacian[::2].var(), rel=1e-5)
    assert score_image(image)["sharpness"] == pytest.approx(laplacian.var(), rel=0.05)


@pytest.mark.parametrize("sigma", [1, 2, 5, 10, 20])
def test_white_noise_is_measured(sigma: float) -> None:
    assert score_image(white(sigma, 512, 512))["noise"] == pytest.approx(sigma, rel=0.08, abs=0.1)


@pytest.mark.parametrize("sigma", [5, 10])
def test_noise_is_told_from_edges_and_texture(sigma: float) -> None:
    image = photograph(3, 512, 512)
    assert score_image(image)["noise"] < 1
    # A fifth is plain background, without which noise is hidden by texture.
    image[:100] = 130
    noisy = image + np.random.default_rng(0).normal(0, sigma, (512, 512, 1))
    assert score_image(np.clip(np.round(noisy), 0, 255).astype(np.uint8))["noise"] == pytest.approx(sigma, rel=0.1)


def test_uneven_fine_texture_is_no_noise() -> None:
    """Sparse specks have a flat spectrum too."""
    random = np.random.default_rng(0)
    specks = 120.0 + 60 * (random.random((256, 256)) < 0.02)
    assert score_image(rgb(specks))["noise"] < 0.1
    assert specks.std() > 8


@pytest.mark.parametrize("seed", range(4))
def test_blockiness_falls_with_jpeg_quality_wherever_the_grid_begins(seed: int) -> None:
    image = photograph(seed)
    for top, left in ((0, 0), (3, 5), (7, 1)):
        found = [score_image(jpeg(image, q)[top:, left:])["blockiness"] for q in (10, 20, 30, 50, 75, 95)]
        assert found == sorted(found, reverse=True)
        assert found[0] > 30
        assert found[-1] < 3
    assert score_image(image)["blockiness"] < 3


def test_lines_are_no_blocks() -> None:
    """Neither a few strong edges on the grid nor a texture of half its period count."""
    pole = np.full((128, 128), 100.0)
    pole[:, 64:] = 200
    assert score_image(rgb(pole))["blockiness"] == 0
    stripes = np.repeat((np.arange(128) // 2 % 2 * 60.0 + 90)[None], 128, axis=0)
    assert score_image(rgb(stripes))["blockiness"] < 1


@pytest.mark.parametrize("sigma", [3, 40])
def test_noise_is_no_blocks(sigma: float) -> None:
    """Differences beyond 8 bits must not wrap."""
    assert score_image(white(sigma, 512, 512))["blockiness"] < 1.5
    assert score_image(rgb(np.random.default_rng(0).choice([0.0, 255.0], (512, 512))))["blockiness"] < 1.5


def test_the_size_of_blocks_that_counts_is_eight() -> None:
    level = np.random.default_rng(0).uniform(100, 140, (32, 32))
    found = {
        side: score_image(rgb(level.repeat(side, axis=0).repeat(side, axis=1)))["blockiness"] for side in (7, 8, 9)
    }
    assert found[8] > 40
    assert max(found[7], found[9]) < 5


def test_reduction_without_a_low_pass_is_aliased() -> None:
    large = Image.new("RGB", (1024, 1024), (150, 150, 150))
    random, draw = np.random.default_rng(0), ImageDraw.Draw(large)
    for ends in random.integers(0, 1024, (80, 4)).tolist():
        draw.line(ends, fill=(20, 20, 20), width=5)
    good = np.asarray(large.resize((256, 256), Image.Resampling.BICUBIC))
    bad = np.asarray(large)[::4, ::4]
    upscaled = np.asarray(large.resize((2048, 2048), Image.Resampling.BICUBIC))
    found = [score_image(image)["aliasing"] for image in (upscaled, good, bad)]
    assert found[0] < 0.25
    assert found[1] < found[2] - 0.03
    assert found[2] > 0.38


def test_noise_is_not_aliasing() -> None:
    assert score_image(white(10))["aliasing"] < 0.2


def test_saturation_is_colourfulness() -> None:
    red, grey = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 99, np.uint8)
    red[..., 0] = 200
    assert score_image(red)["saturation"] == pytest.approx(0.3 * math.hypot(200, 100), rel=1e-5)
    # Half of it: opponent values 200 or 0 and 100 or 0, so deviations 100 and 50, means 100 and 50.
    both = np.concatenate([red, grey])
    assert score_image(both)["saturation"] == pytest.approx(1.3 * math.hypot(100, 50), rel=1e-5)
    assert score_image(grey)["saturation"] == 0


def test_clipping_is_a_share_of_samples() -> None:
    image = np.full((40, 40, 3), 100, np.uint8)
    image[:, :10, 0] = 255
    image[:, 20:40, 1] = 0
    assert score_image(image)["clipping"] == pytest.approx((10 + 20) / 120)


@pytest.mark.parametrize("seed", range(6))
def test_a_hash_survives_saving_scaling_and_brightness(seed: int) -> None:
    image = photograph(seed)
    before = perceptual_hash(image)
    assert 0 <= before < 2**64
    picture = Image.fromarray(image)
    others = [
        jpeg(image, 60),
        np.asarray(picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)),
        (image * 0.8 + 10).astype(np.uint8),
    ]
    for other in others:
        assert hamming(before, perceptual_hash(other)) <= 3
    assert hamming(before, perceptual_hash(photograph(seed + 100))) > 12
    assert hamming(before, perceptual_hash(image[:, ::-1])) > 12


def test_a_hash_of_nothing_is_nothing() -> None:
    for size in ((1, 1), (1, 200), (64, 64)):
        assert perceptual_hash(np.full((*size, 3), 77, np.uint8)) == 0
    assert hamming(0, 2**64 - 1) == 64
    assert hamming(0b1011, 0b0010) == 2


def test_scores_of_other_layouts_are_the_same() -> None:
    image = photograph(2)
    turned = np.ascontiguousarray(image.transpose(1, 0, 2)).transpose(1, 0, 2)
    assert not turned.flags.c_contiguous
    assert score_image(turned) == score_image(image)
    assert perceptual_hash(turned) == perceptual_hash(image)


def test_there_is_no_such_score() -> None:
    with pytest.raises(UserError, match="unknown score 'arniqua'") as caught:
        open_scorer("arniqua", None)
    assert "arniqa" in caught.value.fix


def test_without_pyiqa_the_pip_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(UserError, match="needs the package pyiqa") as caught:
        open_scorer("brisque", None)
    assert "pip install 'paragonsr[iqa]'" in caught.value.fix


def test_a_metric_of_pyiqa_gets_the_image_as_it_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    module, asked = ModuleType("pyiqa"), []

    def create_metric(name: str, device: object) -> object:
        asked.append(name)
        return lambda x: x[:, 0].mean() * 100 if tuple(x.shape) == (1, 3, 5, 7) else None

    module.create_metric = create_metric  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    image = np.zeros((5, 7, 3), np.uint8)
    image[..., 0] = 51
    assert open_scorer("nima", None)(image) == pytest.approx(20)
    assert asked == ["nima"]


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("pyiqa")

    def create_metric(name: str, device: object) -> object:
        raise OSError("no network")

    module.create_metric = create_metric  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    with pytest.raises(UserError, match="arniqa could not be downloaded: no network"):
        open_scorer("arniqa", None)
