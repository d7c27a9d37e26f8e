"""Samples are a pure function of (seed, sample index)."""

from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from paragonsr.data.options import PairedOptions
from paragonsr.data.packed import PackedDataset, open_packed
from paragonsr.data.sampling import Batch, Sampler, augmented, hashes
from paragonsr.errors import UserError

SIZES = ((9, 14), (12, 8), (8, 8), (20, 11), (8, 30))
"""Height and width of the LR images. The red value of a pixel is its row, green its column, blue its image."""

seeds = st.integers(-(2**70), 2**70)
samples = st.integers(0, 2**40)


def _coordinates(height: int, width: int, image: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, np.full_like(y, image)], axis=2).astype(np.uint8)


@pytest.fixture(scope="module", params=[2, 3])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PackedDataset:
    """Pairs whose HR image is the LR image with every pixel repeated, so that positions can be compared exactly."""
    folder, scale = tmp_path_factory.mktemp("coordinates"), request.param
    for i, (height, width) in enumerate(SIZES):
        lr = _coordinates(height, width, i)
        _write(folder / f"lr/{i}.png", lr)
        _write(folder / f"hr/{i}.png", lr.repeat(scale, 0).repeat(scale, 1))
    return open_packed(_options(folder), scale, "train")


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(image).save(path)


def _options(folder: Path = Path(), **keys: object) -> PairedOptions:
    keys = {"lq_size": 5} | keys
    return PairedOptions(
        dataroot_gt=str(folder / "hr"), dataroot_lq=str(folder / "lr"), store_root=str(folder / "cache"), **keys
    )


def _sampler(store: PackedDataset, seed: int = 0, **keys: object) -> Sampler:
    return Sampler(store, _options(**keys), store.scale, seed)


def _equal(one: Batch, other: Batch) -> bool:
    return (
        np.array_equal(one.lq, other.lq)
        and np.array_equal(one.hr, other.hr)
        and (one.images, one.names) == (other.images, other.names)
    )


def _joined(*batches: Batch) -> Batch:
    return Batch(
        np.concatenate([batch.lq for batch in batches]),
        np.concatenate([batch.hr for batch in batches]),
        sum((batch.images for batch in batches), ()),
        sum((batch.names for batch in batches), ()),
    )


@given(seeds, samples, st.integers(0, 12), st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_batches_may_be_cut_anywhere(store: PackedDataset, seed: int, first: int, a: int, b: int) -> None:
    sampler = _sampler(store, seed)
    parts = sampler.batch(first, a), sampler.batch(first + a, b)
    assert _equal(sampler.batch(first, a + b), _joined(*parts))
    assert _equal(_sampler(store, seed).batch(first + a, b), parts[1]), "nothing is remembered between batches"


@given(seeds, samples, st.integers(1, 8), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_hr_and_lr_patches_lie_at_the_same_place(
    store: PackedDataset, seed: int, first: int, patch: int, hflip: bool, rot: bool
) -> None:
    batch = _sampler(store, seed, lq_size=patch, use_hflip=hflip, use_rot=rot).batch(first, 6)
    s = store.scale
    assert batch.lq.shape == (6, patch, patch, 3)
    assert batch.lq.dtype == batch.hr.dtype == np.uint8
    np.testing.assert_array_equal(batch.hr, batch.lq.repeat(s, 1).repeat(s, 2))
    assert (batch.lq[..., 2] == np.array(batch.images)[:, None, None]).all()
    assert batch.names == tuple(f"{i}.png" for i in batch.images)
    # Rows and columns of a patch are consecutive in every orientation.
    for axis in (0, 1):
        values = batch.lq[..., axis].reshape(6, -1).astype(int)
        assert (values.max(axis=1) - values.min(axis=1) == patch - 1).all()


@given(seeds, st.integers(0, 2**30))
@settings(max_examples=60, deadline=None)
def test_an_epoch_shows_every_image_once(store: PackedDataset, seed: int, epoch: int) -> None:
    count = len(store)
    shown = _sampler(store, seed).batch(epoch * count, 2 * count).images
    assert sorted(shown[:count]) == sorted(shown[count:]) == list(range(count))


def test_epochs_have_orders_of_their_own(store: PackedDataset) -> None:
    count = len(store)
    shown = _sampler(store).batch(0, 600 * count).images
    orders = Counter(shown[i : i + count] for i in range(0, len(shown), count))
    # 600 draws from the 120 orders of five images: five each on average, and hardly any missing.
    assert len(orders) >= 112
    assert max(orders.values()) <= 15


def test_patches_without_augmentation_are_as_stored_and_reach_every_place_equally(store: PackedDataset) -> None:
    count = len(store)
    draws = 400
    batch = _sampler(store, lq_size=7, use_hflip=False, use_rot=False).batch(0, draws * count)
    corners = Counter((image, *corner) for image, _, corner in _corners(batch))
    for image, (height, width) in enumerate(SIZES):
        places = list(product(range(height - 6), range(width - 6)))
        found = [corners.pop((image, y, x), 0) for y, x in places]
        expected = draws / len(places)
        deviation = (expected * (1 - 1 / len(places))) ** 0.5
        assert max(abs(n - expected) for n in found) <= 4.5 * deviation + 1
    assert not corners
    rows = batch.lq[:, :, 0, 0].astype(int)
    assert (np.diff(rows, axis=1) == 1).all()


def _symmetry(patch: NDArray[np.uint8]) -> tuple[bool, bool, bool]:
    """Augmentation of a patch of coordinates: hflip, vflip, turn."""
    down, right = (
        (np.sign(patch[-1, 0, :2].astype(int) - patch[0, 0, :2])),
        np.sign(patch[0, -1, :2].astype(int) - patch[0, 0, :2]),
    )
    turn = down[0] == 0
    row_step, column_step = (right[0], down[1]) if turn else (down[0], right[1])
    return bool(column_step < 0), bool(row_step < 0), bool(turn)


def _symmetries(batch: Batch) -> Iterator[tuple[bool, bool, bool]]:
    return (_symmetry(patch) for patch in batch.lq)


def test_all_eight_symmetries_occur_equally_often(store: PackedDataset) -> None:
    counts = Counter(_symmetries(_sampler(store).batch(0, 8000)))
    assert len(counts) == 8
    # The standard deviation of each count is 30.
    assert all(abs(n - 1000) < 120 for n in counts.values()), counts


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"use_hflip": True, "use_rot": False}, {(False, False, False), (True, False, False)}),
        ({"use_hflip": False, "use_rot": True}, {(False, v, t) for v in (False, True) for t in (False, True)}),
        ({"use_hflip": False, "use_rot": False}, {(False, False, False)}),
    ],
)
def test_symmetries_that_are_switched_off_do_not_occur(
    store: PackedDataset, keys: dict[str, bool], expected: set[tuple[bool, bool, bool]]
) -> None:
    assert set(_symmetries(_sampler(store, **keys).batch(0, 200))) == expected


def test_flips_and_turn_are_what_they_are_called() -> None:
    image = np.arange(9, dtype=np.uint8).reshape(3, 3, 1)
    assert augmented(image, True, False, False)[0, :, 0].tolist() == [2, 1, 0]
    assert augmented(image, False, True, False)[0, :, 0].tolist() == [6, 7, 8]
    assert augmented(image, False, False, True)[0, :, 0].tolist() == [0, 3, 6]
    results = {augmented(image, *turned).tobytes() for turned in product((False, True), repeat=3)}
    assert len(results) == 8
    assert np.rot90(image).tobytes() in results


def test_seeds_differ_and_a_seed_is_taken_modulo_2_to_the_64(store: PackedDataset) -> None:
    assert not _equal(_sampler(store, 1).batch(0, 32), _sampler(store, 2).batch(0, 32))
    assert _equal(_sampler(store, -1).batch(0, 32), _sampler(store, 2**64 - 1).batch(0, 32))


MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def _splitmix64(state: int) -> int:
    """The next output of the generator whose state is `state`, in Python's own integers."""
    z = (state + GOLDEN) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_the_reference_is_splitmix64() -> None:
    # The published first outputs for the state 1234567.
    outputs = [_splitmix64((1234567 + k * GOLDEN) & MASK) for k in range(5)]
    assert outputs == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(seeds, st.integers(0, 5), st.lists(st.integers(0, MASK), min_size=1, max_size=5))
def test_hashes_are_splitmix64_at_a_keyed_position(seed: int, stream: int, counters: list[int]) -> None:
    key = _splitmix64(_splitmix64(seed % 2**64) ^ (stream + 1))
    expected = [_splitmix64((key + counter * GOLDEN) & MASK) for counter in counters]
    assert hashes(seed, stream, np.array(counters, np.uint64)).tolist() == expected


def test_golden_samples(store: PackedDataset) -> None:
    """Must never change: the sample order of every recorded run depends on them."""
    assert hashes(1024, 0, np.arange(3, dtype=np.uint64)).tolist() == GOLDEN_HASHES
    batch = _sampler(store, 1024).batch(10**9, 6)
    found = [(image, *corner, *_symmetry(patch)) for image, patch, corner in _corners(batch)]
    assert [tuple(map(int, sample)) for sample in found] == GOLDEN_SAMPLES


def _corners(batch: Batch) -> Iterator[tuple[int, NDArray[np.uint8], tuple[int, int]]]:
    for image, patch in zip(batch.images, batch.lq, strict=True):
        yield image, patch, (int(patch[..., 0].min()), int(patch[..., 1].min()))


GOLDEN_HASHES = [8959495456652557244, 17207491364581261289, 644619521095088081]
GOLDEN_SAMPLES = [
    (3, 2, 5, 1, 1, 0),
    (1, 7, 0, 0, 1, 1),
    (4, 2, 9, 1, 0, 0),
    (2, 0, 0, 0, 1, 1),
    (0, 4, 4, 1, 1, 1),
    (1, 5, 1, 1, 1, 1),
]
"""Image, top, left, hflip, vflip, turn; worked out in Python's own integers."""


def test_no_patch_size(store: PackedDataset) -> None:
    with pytest.raises(UserError, match="the size of the training patches is missing") as caught:
        _sampler(store, lq_size=None)
    assert "lq_size" in caught.value.fix


def test_a_patch_may_be_as_large_as_the_smallest_image(store: PackedDataset) -> None:
    batch = _sampler(store, lq_size=8, use_hflip=False, use_rot=False).batch(0, 5)
    smallest = batch.images.index(2)
    np.testing.assert_array_equal(batch.lq[smallest], store.lq(2))


def test_cutting_costs_far_less_than_training(store: PackedDataset) -> None:
    # About 0.05 ms per patch; decoding the image again would take 10 ms.
    sampler = _sampler(store, lq_size=8)
    seconds = []
    for i in range(10):
        begin = perf_counter()
        sampler.batch(16 * i, 16)
        seconds.append(perf_counter() - begin)
    assert min(seconds) < 16 * 1e-3
