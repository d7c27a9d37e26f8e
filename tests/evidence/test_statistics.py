"""Known answers, and the promised coverage in simulated experiments."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paragonsr.evidence.statistics import detectable_effect, first_reached, paired_difference


def test_a_textbook_interval() -> None:
    # Differences 1, 2, 3: mean 2, sd 1, t(0.975, 2) = 4.302653.
    found = paired_difference([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-5)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_seeds_give_no_interval(count: int) -> None:
    found = paired_difference([1.5] * count, [1.0] * count)
    assert found.mean == 0.5
    assert found.low is found.high is found.detectable is None
    assert "no interval" in str(found)


@pytest.mark.parametrize("count", [3, 5, 10])
def test_intervals_cover_95_percent(count: int) -> None:
    random = np.random.default_rng(count)
    covered = 0
    for _ in range(2000):
        noise = random.normal(0, 0.05, count)
        theirs = random.normal(33, 0.5, count)
        found = paired_difference(list(theirs + 0.02 + noise), list(theirs))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.02 <= found.high
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("count", [3, 5, 10])
def test_the_detectable_effect_is_detected_in_80_percent(count: int) -> None:
    random = np.random.default_rng(count)
    effect = detectable_effect(count)
    found = 0
    for _ in range(2000):
        differences = list(random.normal(effect, 1.0, count))
        interval = paired_difference(differences, [0.0] * count)
        assert interval.low is not None
        assert interval.high is not None
        found += not interval.low <= 0 <= interval.high
    assert found / 2000 == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("ours", "theirs"), [([1.0], []), ([], []), ([1.0, math.inf], [1.0, 1.0]), ([math.nan], [1.0])]
)
def test_what_cannot_be_compared_is_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match=r"pair|finite"):
        paired_difference(ours, theirs)


@pytest.mark.parametrize(
    ("values", "target", "better", "expected"),
    [
        ([1.0, 2.0, 3.0], 2.0, "higher", 20.0),  # a tie counts as reached
        ([1.0, 2.0, 3.0], 2.5, "higher", 25.0),  # between two points
        ([1.0, 3.0, 2.0, 4.0], 2.5, "higher", 17.5),  # the first crossing, though the curve falls back
        ([1.0, 2.0, 3.0], 3.5, "higher", None),
        ([2.0, 2.0, 2.0], 2.0, "higher", 10.0),
        ([5.0, 1.0, 3.0], 2.0, "lower", 17.5),
        ([5.0, 4.0, 3.0], 2.0, "lower", None),
    ],
)
def test_first_reached(values: list[float], target: float, better: str, expected: float | None) -> None:
    found = first_reached([10.0, 20.0, 30.0, 40.0][: len(values)], values, target, better)
    assert found == (pytest.approx(expected) if expected is not None else None)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20), st.floats(-100, 100))
def test_higher_and_lower_are_mirror_images(values: list[float], target: float) -> None:
    positions = list(range(len(values)))
    up = first_reached(positions, values, target, "higher")
    assert up == first_reached(positions, [-v for v in values], -target, "lower")
    assert (up is None) == (max(values) < target)
