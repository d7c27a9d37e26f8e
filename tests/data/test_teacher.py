"""A teacher's images are computed once, resumed after an interruption, and mixed into the patches."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from paragonsr.data.options import SingleOptions
from paragonsr.data.packed import PackedDataset, open_packed
from paragonsr.data.sampling import Sampler
from paragonsr.data.teacher import TeacherTargets, open_targets
from paragonsr.resize import Image, upscale

Images = dict[str, np.ndarray]


def _images(count: int = 4) -> Images:
    random = np.random.default_rng(0)
    return {f"{i}.png": random.integers(0, 256, (24 + 2 * i, 30, 3), np.uint8) for i in range(count)}


class Teacher:
    """Doubles images and counts them; may fail at one."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.made, self.fails_at, self.loaded = 0, fails_at, 0

    def load(self) -> Callable[[Image], Image]:
        self.loaded += 1
        return self.upscale

    def upscale(self, image: Image) -> Image:
        if self.made == self.fails_at:
            raise KeyboardInterrupt
        self.made += 1
        return upscale(image, 2)


@pytest.fixture
def packed(images: Callable[[str, Images], Path], single: Callable[..., SingleOptions]) -> PackedDataset:
    return open_packed(single(images("hr", _images()), lq_size=8, batch_size_per_gpu=2), 2, "train")


def _open(
    root: Path, packed: PackedDataset, teacher: Teacher, digest: str = "d" * 64, share: float = 1.0
) -> TeacherTargets:
    return open_targets(root, packed, digest, share, teacher.load)


def test_its_images_are_made_once(tmp_path: Path, packed: PackedDataset) -> None:
    teacher = Teacher()
    for _ in range(2):
        targets = _open(tmp_path, packed, teacher)
        for index in range(len(packed)):
            np.testing.assert_array_equal(targets.image(index), upscale(packed.lq(index), 2))
    assert (teacher.made, teacher.loaded) == (4, 1)


def test_another_teacher_makes_its_own(tmp_path: Path, packed: PackedDataset) -> None:
    teacher = Teacher()
    _open(tmp_path, packed, teacher, "a" * 64)
    _open(tmp_path, packed, teacher, "b" * 64)
    assert teacher.made == 8


def test_an_interrupted_packing_continues(tmp_path: Path, packed: PackedDataset) -> None:
    with pytest.raises(KeyboardInterrupt):
        _open(tmp_path, packed, Teacher(fails_at=3))
    rest = Teacher()
    told: list[tuple[int, int]] = []
    targets = open_targets(tmp_path, packed, "d" * 64, 1.0, rest.load, lambda done, total: told.append((done, total)))
    assert rest.made == 1
    assert told == [(3, 4), (4, 4)]
    for index in range(len(packed)):
        np.testing.assert_array_equal(targets.image(index), upscale(packed.lq(index), 2))


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_patches_are_mixed_at_the_same_places(tmp_path: Path, packed: PackedDataset, share: float) -> None:
    options = SingleOptions(dataroot_gt="unused", lq_size=8, batch_size_per_gpu=2)
    plain = Sampler(packed, options, 2, seed=3).batch(0, 9)
    fingerprint, targets = packed.fingerprint, _open(tmp_path, packed, Teacher(), share=share)
    packed.learn_from(targets)
    assert packed.fingerprint != fingerprint, "a run cannot be resumed with another teacher"
    taught = Sampler(packed, options, 2, seed=3).batch(0, 9)
    np.testing.assert_array_equal(plain.lq, taught.lq)
    packed.teacher, packed._hr = None, np.concatenate([targets.image(i).reshape(-1) for i in range(len(packed))])
    alone = Sampler(packed, options, 2, seed=3).batch(0, 9)
    expected = np.rint((1 - share) * plain.hr.astype(float) + share * alone.hr)
    np.testing.assert_allclose(taught.hr, expected, atol=1)
    assert np.abs(taught.hr - expected).mean() < 0.01
