"""Window attention equals its plain formula, on every pixel, for any size."""

# ruff: noqa: N802  # names carry the ids of the published networks' defects

import importlib.util
import itertools
import math
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from paragonsr.archs.attention import OverlappingAttention, ShiftedAttention, WindowGrid, attend
from paragonsr.archs.release_blocks import WindowAttention, rotary_angles, rotate
from paragonsr.archs.release_options import PhotoOptions

SIZES = st.integers(1, 40)


@pytest.fixture(scope="module")
def loops() -> ModuleType:
    """The reference of the benchmarks: a Python loop over overlapping windows."""
    path = Path(__file__).parents[2] / "benchmarks" / "reference" / "loop_attention.py"
    spec = importlib.util.spec_from_file_location("loop_attention", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def awake(attention: ShiftedAttention) -> ShiftedAttention:
    """In double precision, with a branch that affects the output."""
    torch.nn.init.ones_(attention.gamma)
    return attention.double()


@pytest.mark.parametrize("keys", [1, 12, 16])
@pytest.mark.parametrize("values", [14, 16, 96])
def test_attend_is_softmax_attention(keys: int, values: int) -> None:
    query, key = torch.randn(2, 3, 2, 9, keys, dtype=torch.float64)
    value = torch.randn(3, 2, 9, values, dtype=torch.float64)
    expected = (0.7 * query @ key.transpose(-1, -2)).softmax(-1) @ value
    torch.testing.assert_close(attend(query, key, value, 0.7), expected)


def test_attend_sees_only_its_region() -> None:
    query, key, value = torch.randn(3, 2, 1, 6, 4, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1, 1, 2])  # the last token is padding, which no token sees
    regions = F.one_hot(labels, 3)[:, :2].expand(2, 1, 6, 2)
    out = attend(query, key, value, 0.5, regions)
    for group in (slice(0, 2), slice(2, 5)):
        expected = attend(query[:, :, group], key[:, :, group], value[:, :, group], 0.5)
        torch.testing.assert_close(out[:, :, group], expected)


def test_both_bf16_paths_agree_in_values_and_gradients() -> None:
    def run(kind: torch.dtype) -> list[Tensor]:
        torch.manual_seed(2)
        query, key = (torch.randn(2, 1, 40, 6).to(kind).requires_grad_() for _ in range(2))
        value = torch.randn(2, 1, 40, 48).to(kind).requires_grad_()
        out = attend(query, key, value, 6**-0.5)
        return [out, *torch.autograd.grad((out * torch.arange(48)).sum(), (query, key, value))]

    for half, full in zip(run(torch.bfloat16), run(torch.float32), strict=True):
        assert (half.float() - full).norm() < 0.03 * full.norm()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_the_mask_holds_in_half_precision(kind: torch.dtype) -> None:
    query, key = torch.full((2, 1, 1, 4, 12), 3.0, dtype=kind)
    value = torch.tensor([1.0, 1.0, 100.0, 100.0], dtype=kind).view(1, 1, 4, 1).expand(1, 1, 4, 8)
    regions = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]).view(1, 1, 4, 2)
    for scale in (12**-0.5, 1 / 32):
        torch.testing.assert_close(attend(query, key, value, scale, regions), value)


@given(height=SIZES, width=SIZES, window=st.integers(2, 12), shifted=st.booleans(), batch=st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_cut_and_join_are_inverse(height: int, width: int, window: int, shifted: bool, batch: int) -> None:
    grid = WindowGrid(height, width, window, window // 2 if shifted else 0)
    image = torch.rand(batch, 3, height, width)
    windows = grid.cut(image)
    assert windows.shape[1:] == (window**2, 3)
    torch.testing.assert_close(grid.join(windows), image, rtol=0, atol=0)


@given(height=SIZES, width=SIZES, shifted=st.booleans())
@settings(max_examples=25, deadline=None)
def test_A4_every_pixel_is_attended_to(height: int, width: int, shifted: bool) -> None:
    attention = awake(ShiftedAttention(4, window=8, shift=4 if shifted else 0))
    x = torch.zeros(1, 4, height, width, dtype=torch.float64)
    torch.nn.init.ones_(attention.value.bias)  # type: ignore[arg-type]
    torch.testing.assert_close(attention(x), x + 1)  # the mean of ones, everywhere: padding is not seen


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([8, 16]), st.booleans(), st.booleans())
def test_windows_cut_at_the_border_are_the_whole_ones_masked(
    height: int, width: int, window: int, shifted: bool, by_tokens: bool
) -> None:
    layer = ShiftedAttention(16, window=window, shift=shifted * window // 2, by_tokens=by_tokens).double()
    packed = torch.randn(2, sum(layer.widths), height, width, dtype=torch.float64)
    torch.testing.assert_close(layer.cut_windows(packed), layer.whole_windows(packed), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("window_shift", [0, 4])
def test_A4_a_window_is_plain_attention_among_its_pixels(window_shift: int) -> None:
    attention = awake(ShiftedAttention(6, window=8, reduction=2, shift=window_shift))
    x = torch.randn(1, 6, 13, 19, dtype=torch.float64)
    out = attention(x)
    rows = [0, *range(window_shift or 8, 13, 8), 13]
    columns = [0, *range(window_shift or 8, 19, 8), 19]
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            part = x[..., top:bottom, left:right]
            q, k, v = (layer(part).flatten(2) for layer in (attention.query, attention.key, attention.value))
            mixed = v @ (q.transpose(1, 2) @ k / math.sqrt(3)).softmax(-1).transpose(1, 2)
            torch.testing.assert_close(out[..., top:bottom, left:right], part + mixed.view_as(part))


@pytest.mark.parametrize(
    ("size", "uncovered"), [(33, 2), (64, 9), (160, 9), (180, 5), (540, 5), (96, 0), (100, 0), (128, 0), (192, 0)]
)
def test_A4_legacy_windows_leave_strips_uncovered(size: int, uncovered: int) -> None:
    attention = awake(OverlappingAttention(2, window=32, by_tokens=True))
    torch.nn.init.ones_(attention.value.bias)  # type: ignore[arg-type]
    x = torch.zeros(1, 2, 40, size, dtype=torch.float64)
    added = (attention(x) - x)[0, 0, 8]
    assert int((added.abs() < 1e-9).sum()) == uncovered
    assert not (added[size - uncovered :]).any()


@pytest.mark.parametrize("size", [(20, 20), (33, 40), (64, 64), (20, 50), (70, 47), (3, 90), (1, 5), (96, 33)])
def test_A4_legacy_is_the_loop_over_overlapping_windows(loops: ModuleType, size: tuple[int, int]) -> None:
    attention = awake(OverlappingAttention(5, window=32, by_tokens=True))
    x = torch.randn(2, 5, *size, dtype=torch.float64)
    torch.testing.assert_close(attention(x), loops.LoopAttention(attention)(x), atol=1e-6, rtol=1e-5)


def test_A4_the_covering_loop_of_the_benchmark_covers(loops: ModuleType) -> None:
    attention = awake(OverlappingAttention(2, window=32))
    torch.nn.init.ones_(attention.value.bias)  # type: ignore[arg-type]
    x = torch.zeros(1, 2, 64, 77, dtype=torch.float64)
    torch.testing.assert_close(loops.LoopAttention(attention, cover=True)(x), x + 1, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("by_tokens", "divisor"), [(False, math.sqrt(4)), (True, math.sqrt(64))])
def test_A5_logits_are_divided_by_the_key_width(by_tokens: bool, divisor: float) -> None:
    attention = awake(ShiftedAttention(8, window=8, reduction=2, by_tokens=by_tokens))
    x = torch.randn(1, 8, 8, 8, dtype=torch.float64) * 3
    q, k, v = (layer(x).flatten(2) for layer in (attention.query, attention.key, attention.value))
    mixed = v @ (q.transpose(1, 2) @ k / divisor).softmax(-1).transpose(1, 2)
    torch.testing.assert_close(attention(x), x + mixed.view_as(x))


def windowed(index: int, **options: object) -> WindowAttention:
    torch.manual_seed(1)
    attention = WindowAttention(PhotoOptions(num_feat=16, window_size=8, **options), index)  # type: ignore[arg-type]
    return attention.double()


def reaches(attention: WindowAttention, size: int = 24) -> Tensor:
    """Where the output changes when the bottom right pixel does."""
    x = torch.randn(1, 16, size, size, dtype=torch.float64)
    other = x.clone()
    other[..., -1, -1] += 1
    return ((attention(other) - attention(x)).abs().amax(1)[0] > 1e-9).nonzero()


def test_R1_shifted_windows_do_not_mix_opposite_borders() -> None:
    assert reaches(windowed(1)).min() >= 24 - 8
    assert reaches(windowed(1, window_mask=False)).min() == 0


def test_R2_padding_is_not_attended_to() -> None:
    flat = torch.full((1, 16, 11, 13), 0.3, dtype=torch.float64)
    for index in (0, 1):
        out = windowed(index)(flat)
        torch.testing.assert_close(out, out[..., :1, :1].expand_as(out))
        legacy = windowed(index, window_mask=False)(flat)
        assert (legacy - legacy[..., :1, :1]).abs().max() > 1e-3


def test_R3_attention_knows_where_pixels_lie() -> None:
    x = torch.randn(1, 16, 8, 8, dtype=torch.float64)
    order = torch.randperm(64)
    shuffled = x.flatten(2)[..., order].view_as(x)
    legacy = windowed(0, positions="none")
    torch.testing.assert_close(legacy(shuffled), legacy(x).flatten(2)[..., order].view_as(x))
    rotary = windowed(0)
    assert (rotary(shuffled) - rotary(x).flatten(2)[..., order].view_as(x)).abs().max() > 1e-3


def test_R3_rotary_logits_depend_on_the_distance_alone() -> None:
    query, key = torch.randn(2, 1, 12, dtype=torch.float64)
    angles = rotary_angles(6, 12, query)
    logits = (rotate(query.expand(36, 12), angles) @ rotate(key.expand(36, 12), angles).T).view(6, 6, 6, 6)
    torch.testing.assert_close(logits[1, 2, 3, 5], logits[2, 1, 4, 4], atol=1e-5, rtol=0)
    assert (logits[1, 2, 3, 5] - logits[1, 2, 5, 3]).abs() > 1e-3
