"""MATLAB's imresize, compared with MATLAB's own files and with a slow transcription of its definition."""

from fractions import Fraction
from math import ceil, floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from paragonsr.data.images import read_image
from paragonsr.resize import Image, downscale, resize, taps, upscale


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lr_files_of_set5_are_reproduced_bit_for_bit(shared: Path, scale: int) -> None:
    set5 = shared / "data/benchmark/Set5"
    files = sorted((set5 / f"LR_bicubic_x{scale}").glob("*.png"))
    assert len(files) == 5
    for file in files:
        name = file.name.replace(f"x{scale}.png", ".png")
        hr = read_image(set5 / "HR" / name)
        cropped = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        np.testing.assert_array_equal(downscale(cropped, scale), read_image(file), err_msg=file.name)


def _cubic(x: Fraction) -> Fraction:
    x = abs(x)
    if x <= 1:
        return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
    if x <= 2:
        return Fraction(-1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2
    return Fraction(0)


def _mirrored(line: int, length: int) -> int:
    """Line ... -1 0 1 ... n n+1 ... counted from 1, reflected with the border line repeated; counted from 0."""
    while not 1 <= line <= length:
        line = 1 - line if line < 1 else 2 * length + 1 - line
    return line - 1


def _exact_pass(lines: list[list[int]], new_length: int) -> list[list[int]]:
    """One pass over the first axis in rational numbers, rounded only to uint8, half up."""
    length = len(lines)
    if length == new_length:
        return lines
    scale = Fraction(new_length, length)
    stretch = min(scale, Fraction(1))
    result = []
    for out in range(1, new_length + 1):
        centre = out / scale + Fraction(1, 2) * (1 - 1 / scale)
        reach = 2 / stretch
        near = range(floor(centre - reach), ceil(centre + reach) + 1)
        weights = [_cubic(stretch * (centre - line)) for line in near]
        total = sum(weights)
        sources = [lines[_mirrored(line, length)] for line in near]
        sums = (
            sum(w * s for w, s in zip(weights, column, strict=True)) / total for column in zip(*sources, strict=True)
        )
        result.append([min(255, max(0, floor(value + Fraction(1, 2)))) for value in sums])
    return result


def _exact(image: Image, size: tuple[int, int]) -> Image:
    height, width = size
    channels = []
    for channel in np.moveaxis(image, 2, 0):
        rows = _exact_pass(channel.tolist(), height)
        columns = _exact_pass([list(column) for column in zip(*rows, strict=True)], width)
        channels.append(np.array(columns, np.uint8).T)
    return np.stack(channels, axis=2)


SIDES = st.integers(1, 12)


@given(
    st.tuples(SIDES, SIDES, st.integers(1, 2)).flatmap(lambda shape: arrays(np.uint8, shape)),
    st.tuples(st.integers(1, 16), st.integers(1, 16)),
)
@settings(max_examples=60, deadline=None)
def test_any_size_follows_the_definition(image: Image, size: tuple[int, int]) -> None:
    # Sums of float64 products differ by up to 1e-12 from the exact value, so only an exact half may round either way.
    result = resize(image, size).astype(int)
    difference = np.abs(result - _exact(image, size).astype(int))
    # Halves of the first pass that were all rounded the other way change a sum of the second by up to the sum of the
    # absolute weights, 1.25, and thus its rounded value by 2.
    assert difference.max() <= 2
    if difference.any():
        assert _holds_halves(image, size)


def _holds_halves(image: Image, size: tuple[int, int]) -> bool:
    """Whether some exact sum of the first or second pass is within 1e-9 of a half."""
    height, width = size
    rows = _sums(image.astype(float), height)
    rounded = np.clip(np.floor(rows + 0.5), 0, 255)
    columns = _sums(rounded.transpose(1, 0, 2), width)
    return any(bool((np.abs(np.mod(sums, 1) - 0.5) < 1e-9).any()) for sums in (rows, columns))


def _sums(lines: np.ndarray, new_length: int) -> np.ndarray:
    indices, weights = taps(len(lines), new_length)
    return np.einsum("ot,ot...->o...", weights, lines[indices])


@given(
    st.sampled_from([2, 4, 8]),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=30, deadline=None)
def test_powers_of_two_are_exact_even_on_halves(scale: int, height: int, width: int, seed: int) -> None:
    # Every weight is then a short binary fraction, and so is every sum: no tolerance at all.
    image = np.random.default_rng(seed).integers(0, 256, (height * scale, width * scale, 3), np.uint8)
    np.testing.assert_array_equal(downscale(image, scale), _exact(image, (height, width)))


@given(st.integers(1, 40), st.integers(1, 90))
def test_taps_sum_to_one_and_stay_inside(length: int, new_length: int) -> None:
    indices, weights = taps(length, new_length)
    assert indices.shape == weights.shape
    assert len(indices) == new_length
    assert indices.min() >= 0
    assert indices.max() < length
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)


def test_halves_are_rounded_up_after_each_pass() -> None:
    # Halving mirrors a line of two [a b] into a b b a: its middle line is (a + b) / 2 exactly.
    image = np.array([[0, 0], [1, 0]], np.uint8)[..., None]
    # First pass: 0.5 -> 1 and 0 -> 0; second: 0.5 -> 1. Unrounded between the passes it would be 0.25 -> 0.
    assert resize(image, (1, 1)).item() == 1


def test_blocks_of_lines_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 34, 3), np.uint8)
    whole = resize(image, (37, 71))
    monkeypatch.setattr("paragonsr.resize._BLOCK_BYTES", 1)
    np.testing.assert_array_equal(resize(image, (37, 71)), whole)


def test_constant_stays_constant_and_identity_is_exact() -> None:
    grey = np.full((9, 12, 3), 77, np.uint8)
    assert (upscale(grey, 3) == 77).all()
    assert (downscale(grey, 3) == 77).all()
    noise = np.random.default_rng(1).integers(0, 256, (9, 12, 3), np.uint8)
    np.testing.assert_array_equal(resize(noise, (9, 12)), noise)


def test_result_is_writable_contiguous_and_apart_from_the_input() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    result = resize(image, (4, 4))
    assert result.flags.c_contiguous
    assert not np.shares_memory(result, image)


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (np.zeros((4, 4), np.uint8), (2, 2)),
        (np.zeros((4, 4, 3), np.float32), (2, 2)),
        (np.zeros((4, 4, 3), np.uint8), (0, 2)),
        (np.zeros((0, 4, 3), np.uint8), (2, 2)),
    ],
)
def test_what_is_no_image_is_refused(image: Image, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError):
        resize(image, size)


def test_a_side_that_the_scale_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="5 x 4 is not a multiple of the scale 2"):
        downscale(np.zeros((4, 5, 3), np.uint8), 2)
