"""Statistics of image sets: direction, reliability, and unusual sets."""

import itertools
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from paragonsr.data import statistics as module
from paragonsr.data.options import SingleOptions
from paragonsr.data.packed import PackedDataset, open_packed
from paragonsr.data.statistics import patch_statistics, statistics

Pixels = NDArray[np.uint8]
NAMES = ["texture_variance", "edge_density", "color_variation", "complexity"]


def grey(luma: NDArray[np.float64]) -> Pixels:
    return np.repeat((luma.clip(0, 1) * 255).round().astype(np.uint8)[..., None], 3, axis=2)


def flat(rng: np.random.Generator, side: int = 65) -> Pixels:
    """A faint slope."""
    return grey(0.5 + rng.uniform(-0.1, 0.1) + np.linspace(0, 0.05, side)[:, None] * np.ones(side))


def edgy(rng: np.random.Generator, side: int = 65) -> Pixels:
    """Straight bars of two greys, nine pixels wide, in any direction, with edges as soft as through a lens."""
    y, x = np.mgrid[:side, :side]
    angle = rng.uniform(0, np.pi)
    return grey(0.5 + 0.25 * np.tanh(3 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 0.35 + rng.uniform(0, 6))))


def textured(rng: np.random.Generator, side: int = 65) -> Pixels:
    """Noise without direction."""
    return grey(0.5 + rng.normal(0, 0.1, (side, side)))


def colourful(rng: np.random.Generator, side: int = 65) -> Pixels:
    """Smooth waves of hue of one luma."""
    y, x = np.mgrid[:side, :side] / side
    phase = rng.uniform(0, 6)
    red, blue = np.sin(4 * x + phase), np.cos(4 * y + phase)
    rgb = np.stack([red, -(0.299 * red + 0.114 * blue) / 0.587, blue], axis=-1)
    return np.asarray((0.5 + 0.4 * rgb / 1.6).clip(0, 1) * 255).round().astype(np.uint8)


SETS = {"flat": flat, "edgy": edgy, "textured": textured, "colourful": colourful}


@pytest.fixture
def packed(images: Callable[..., Path], single: Callable[..., SingleOptions]) -> Callable[..., PackedDataset]:
    """packed(list of images) gives the store."""
    number = itertools.count()

    def pack(content: list[Pixels], **keys: Any) -> PackedDataset:
        folder = images(f"set{next(number)}", {f"{i:03}.png": image for i, image in enumerate(content)})
        return open_packed(single(folder, **keys), 2, "train")

    return pack


@pytest.fixture
def kinds(packed: Callable[..., PackedDataset]) -> dict[str, dict[str, float]]:
    """Statistics of one set of each kind."""
    return {name: statistics(packed([draw(np.random.default_rng(i)) for i in range(6)])) for name, draw in SETS.items()}


def test_d11_d13_each_figure_is_largest_for_its_own_kind_of_images(kinds: dict[str, dict[str, float]]) -> None:
    own = {"texture_variance": "textured", "edge_density": "edgy", "color_variation": "colourful"}
    for value, kind in own.items():
        others = [kinds[other][value] for other in SETS if other != kind]
        assert kinds[kind][value] > 2 * max(others) + 0.1, (value, kinds)
    assert kinds["flat"]["complexity"] < 0.06
    assert min(kinds[kind]["complexity"] for kind in own.values()) > 3 * kinds["flat"]["complexity"]


def test_complexity_is_the_mean_of_the_others(kinds: dict[str, dict[str, float]]) -> None:
    for values in kinds.values():
        assert list(values) == NAMES
        assert values["complexity"] == pytest.approx(sum(values[name] for name in NAMES[:3]) / 3)


def test_d13_texture_and_colour_grow_with_contrast() -> None:
    for draw, value in ((textured, "texture_variance"), (colourful, "color_variation")):
        whole = draw(np.random.default_rng(0)).astype(float)
        faint = (127.5 + (whole - 127.5) / 4).round().astype(np.uint8)
        assert patch_statistics(faint)[value] < 0.8 * patch_statistics(whole.astype(np.uint8))[value]


def test_the_formulas_on_images_whose_figures_are_known() -> None:
    ramp = np.arange(17) * 8 / 255
    for plane, slope in ((ramp + np.zeros((17, 1)), 8), (ramp[:, None] + ramp, 8 * 2**0.5)):
        edges = slope / 255 / (slope / 255 + 0.01)
        expected = {"texture_variance": 0, "edge_density": edges, "color_variation": 0, "complexity": edges / 3}
        assert patch_statistics(grey(plane)) == pytest.approx(expected, abs=1e-3)
    # On a chequerboard of 2 x 2 pixels, a quarter of the slopes is +-0.5 across, a quarter down, the rest 0.
    chequers = np.kron(np.indices((9, 9)).sum(axis=0) % 2, np.ones((2, 2)))[:17, :17]
    texture = 0.25 / 0.26
    expected = {"texture_variance": texture, "edge_density": 0, "color_variation": 0, "complexity": texture / 3}
    assert patch_statistics(grey(0.25 + 0.5 * chequers)) == pytest.approx(expected, abs=1e-3)
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    colourfulness = 0.3 * (1 + 0.25) ** 0.5
    assert patch_statistics(red)["color_variation"] == pytest.approx(colourfulness / (colourfulness + 0.15))


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_d13_one_image_of_any_size_has_figures_between_0_and_1(image: Pixels) -> None:
    values = patch_statistics(image)
    assert list(values) == NAMES
    assert all(0 <= value <= 1 for value in values.values())


def test_d13_one_image_is_as_good_as_copies_of_it(packed: Callable[..., PackedDataset]) -> None:
    image = textured(np.random.default_rng(1))
    assert statistics(packed([image])) == pytest.approx(statistics(packed([image] * 5)))


def test_turned_and_mirrored_images_have_the_same_figures() -> None:
    for draw in SETS.values():
        image = draw(np.random.default_rng(3))
        for other in (np.rot90(image), image[:, ::-1], image[::-1]):
            assert patch_statistics(other) == pytest.approx(patch_statistics(image), abs=1e-4)


def test_weighted_images_count_as_often_as_they_are_shown(packed: Callable[..., PackedDataset]) -> None:
    store = packed([flat(np.random.default_rng(0)), textured(np.random.default_rng(0))])
    even = statistics(store)["texture_variance"]
    store.weights = np.array([1.0, 3.0])
    assert statistics(store)["texture_variance"] == pytest.approx(1.5 * even, rel=0.02)


def test_two_halves_of_a_set_agree_within_5_percent(
    packed: Callable[..., PackedDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATCHES", 256)

    def mixed(rng: np.random.Generator) -> Pixels:
        """A patchwork, like photographs."""
        draws = list(SETS.values())
        return np.block([[[draws[rng.integers(4)](rng, 32)] for _ in range(3)] for _ in range(3)])

    content = [mixed(np.random.default_rng(i)) for i in range(120)]
    first, second = statistics(packed(content[::2])), statistics(packed(content[1::2]))
    assert first == pytest.approx(second, rel=0.05)


class Decoded:
    """The part of a store that statistics use, without packing."""

    weights = None

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.hr = lru_cache(maxsize=2)(self._decoded)

    def __len__(self) -> int:
        return len(self.files)

    def _decoded(self, index: int) -> Pixels:
        return np.asarray(Image.open(self.files[index]).convert("RGB"))


def test_two_halves_of_the_photographs_agree_within_5_percent(shared: Path) -> None:
    files = [file for name in ("gb82", "cid22", "clic2025") for file in (shared / "data/train_hr" / name).glob("*.png")]
    files.sort()
    first, second = (statistics(cast(PackedDataset, Decoded(files[half::2]))) for half in (0, 1))
    assert first == pytest.approx(second, rel=0.05)
