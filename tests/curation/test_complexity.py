"""Complexity: what raises it, what must not, and its distribution over real photographs."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from paragonsr.curation.scores.registry import score_image
from paragonsr.data.images import read_image

Pixels = NDArray[np.uint8]
SIDE = 512


def complexity(image: Pixels) -> float:
    return score_image(image)["complexity"]


def textured(strength: float, height: int = 256, width: int = 256, seed: int = 0) -> Pixels:
    """Coloured texture with the spectrum of a natural image, which falls with the frequency and through the lens."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    lens = np.exp(-((frequency / 0.4) ** 2))
    spectrum = np.fft.rfft2(random.normal(size=(height, width))) * lens / (frequency + 0.01)
    texture = np.fft.irfft2(spectrum, (height, width))
    return np.clip(128 + strength * texture[..., None] / texture.std() + [10, 0, -10], 0, 255).astype(np.uint8)


def noisy(image: Pixels, sigma: float, channels: int = 1) -> Pixels:
    random = np.random.default_rng(5)
    return np.clip(np.round(image + random.normal(0, sigma, (*image.shape[:2], channels))), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [2, 5, 10, 20])
def test_noise_on_a_flat_tile_is_not_complex(sigma: float, channels: int) -> None:
    for colour in ((128, 128, 128), (60, 120, 200)):
        flat = np.full((SIDE, SIDE, 3), colour, np.uint8)
        assert complexity(flat) == 0
        assert complexity(noisy(flat, sigma, channels)) < 0.1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strength", [3, 15, 50])
def test_noise_hardly_makes_an_image_more_complex(strength: float, channels: int) -> None:
    image = textured(strength)
    for sigma in (3, 10):
        assert complexity(noisy(image, sigma, channels)) < complexity(image) + 0.05


def test_shading_is_hardly_complex() -> None:
    ramp = np.repeat(np.linspace(0, 255, SIDE)[None], SIDE, axis=0)
    assert complexity(np.repeat(ramp[..., None], 3, axis=-1).astype(np.uint8)) < 0.2


def test_stronger_texture_is_more_complex() -> None:
    found = [complexity(textured(strength)) for strength in (2, 5, 10, 20, 40)]
    assert found == sorted(found)
    assert found[-1] - found[0] > 0.3


def test_more_of_it_is_more_complex() -> None:
    found = []
    for share in (0, 64, 128, 192, 256):
        image = np.full((256, 256, 3), 128, np.uint8)
        image[:share] = textured(40)[:share]
        found.append(complexity(image))
    assert found == sorted(found)
    assert found[0] == 0


def test_colour_counts() -> None:
    """Edges that are invisible in grey."""
    patches = np.random.default_rng(0).random((20, 20)) < 0.5
    mask = patches.repeat(12, axis=0).repeat(12, axis=1)
    image = np.where(mask[..., None], (200, 80, 100), (60, 151, 102)).astype(np.uint8)
    luma = np.asarray(Image.fromarray(image).convert("L"))
    assert int(luma.max()) - int(luma.min()) <= 1
    assert complexity(image) > 0.05
    assert complexity(np.repeat(luma[..., None], 3, axis=-1)) < 0.02


def test_an_enlarged_image_is_less_complex() -> None:
    image = textured(40)
    large = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    assert complexity(np.asarray(large)) < complexity(image) - 0.04


@pytest.mark.parametrize("side", [64, 128, 256])
def test_the_size_of_the_tile_does_not_matter(side: int) -> None:
    image = textured(30, SIDE, SIDE)
    parts = [image[y : y + side, x : x + side] for y in range(0, SIDE, side) for x in range(0, SIDE, side)]
    assert np.mean([complexity(part) for part in parts]) == pytest.approx(complexity(image), abs=0.05)


def test_odd_sides() -> None:
    image = textured(30, SIDE, SIDE)
    assert complexity(image[:509, :507]) == pytest.approx(complexity(image), abs=0.01)


@pytest.fixture(scope="module")
def tiles(shared: Path) -> list[Pixels]:
    """Tiles of 512 x 512 of lossless photographs."""
    found = []
    for name in ("gb82", "cid22", "clic2025"):
        for path in sorted((shared / "data/train_hr" / name).glob("*.png")):
            image = read_image(path)
            for top in range(0, image.shape[0] - SIDE + 1, SIDE):
                for left in range(0, image.shape[1] - SIDE + 1, SIDE):
                    found.append(image[top : top + SIDE, left : left + SIDE].copy())
    return found


def test_photographs_have_the_published_spread(tiles: list[Pixels]) -> None:
    """Mean .38, median .37, 90th percentile .55 of a pool of tiles without blank and rough ones."""
    scores = [score_image(tile) for tile in tiles]
    every = np.array([score["complexity"] for score in scores])
    assert np.median(every) == pytest.approx(0.37, abs=0.005)
    assert np.quantile(every, 0.9) == pytest.approx(0.55, abs=0.005)
    assert every.mean() == pytest.approx(0.38, abs=0.035)
    passed = [s["entropy"] >= 5 and s["contrast"] >= 15 and 50 <= s["sharpness"] <= 3000 for s in scores]
    assert every[passed].mean() == pytest.approx(0.38, abs=0.02)
    assert np.median(every[passed]) == pytest.approx(0.37, abs=0.03)
    assert np.quantile(every[passed], 0.9) == pytest.approx(0.55, abs=0.01)


def test_it_puts_photographs_into_the_order_of_their_compressed_size(tiles: list[Pixels]) -> None:
    some = tiles[::5]
    sizes = []
    for tile in some:
        content = io.BytesIO()
        Image.fromarray(tile).save(content, "JPEG", quality=75)
        sizes.append(content.tell())
    ranks = [np.argsort(np.argsort(values)) for values in (sizes, [complexity(tile) for tile in some])]
    assert np.corrcoef(*ranks)[0, 1] > 0.85


def test_noise_on_photographs_is_measured_and_does_not_count(tiles: list[Pixels]) -> None:
    found = [(score_image(tile), score_image(noisy(tile, 10))) for tile in tiles[::8]]
    assert np.median([after["noise"] for _, after in found]) == pytest.approx(10, rel=0.05)
    assert np.mean([after["complexity"] <= before["complexity"] + 0.02 for before, after in found]) > 0.95
