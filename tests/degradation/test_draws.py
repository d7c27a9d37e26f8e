"""Random numbers: what is drawn, and what it depends on."""

import numpy as np
import pytest

from paragonsr.degradation.draws import Draws


def test_a_draw_is_a_function_of_seed_sample_and_step() -> None:
    drawn = {(s, n, k): Draws(s, n, k).uniform() for s in range(5) for n in range(5) for k in range(5)}
    assert len(set(drawn.values())) == 125
    assert drawn[2, 3, 4] == Draws(2, 3, 4).uniform() == Draws(2 + 2**64, 3, 4).uniform()
    assert Draws(0, 1).child(2).uniform() == Draws(0, 1, 2).uniform()


def test_the_first_numbers_never_change() -> None:
    draws = Draws(7, 11, 3)
    assert [draws.uniform() for _ in range(2)] == pytest.approx([0.8523839303587586, 0.05817145943685886])
    assert draws.normals(1, 4).ravel().tolist() == pytest.approx([-0.23160228, 0.5359965, -0.01118792, 0.03598047])


def test_a_child_does_not_depend_on_what_its_parent_drew() -> None:
    fresh, used = Draws(1, 2), Draws(1, 2)
    used.normals(1, 5)
    used.uniform()
    assert fresh.child(3).uniform() == used.child(3).uniform() == Draws(1, 2, 3).uniform()
    np.testing.assert_array_equal(used.child(3).normals(2, 3), Draws(1, 2, 3).normals(2, 3))


def test_uniform_numbers_fill_their_range_evenly() -> None:
    draws = Draws(0, 0)
    found = np.array([draws.within((2, 6)) for _ in range(20000)])
    counts, _ = np.histogram(found, bins=16, range=(2, 6))
    assert ((counts - 1250) ** 2 / 1250).sum() < 37.7  # chi squared with 15 degrees of freedom, p = 0.001


@pytest.mark.parametrize(("ends", "step", "expected"), [((7, 21), 2, [7, 9, 11, 13, 15, 17, 19, 21]), ((3, 3), 1, [3])])
def test_whole_numbers_include_both_ends(ends: tuple[int, int], step: int, expected: list[int]) -> None:
    draws = Draws(0, 0)
    assert sorted({draws.whole(ends, step) for _ in range(500)}) == expected


def test_a_choice_follows_the_weights() -> None:
    draws = Draws(0, 0)
    found = [draws.choice({"a": 3.0, "b": 0.0, "c": 1.0}) for _ in range(8000)]
    assert found.count("b") == 0
    assert abs(found.count("a") - 6000) < 4 * np.sqrt(8000 * 0.75 * 0.25)


def test_normal_numbers_have_the_moments_and_quantiles_of_the_normal_distribution() -> None:
    found = Draws(3, 4).normals(4, 500, 500).astype(np.float64).ravel()
    assert found.mean() == pytest.approx(0, abs=0.004)
    assert found.var() == pytest.approx(1, abs=0.006)
    assert (found**4).mean() == pytest.approx(3, abs=0.03)
    assert np.mean(np.abs(found) < 1.959964) == pytest.approx(0.95, abs=0.001)
    neighbours = np.corrcoef(found[:-1], found[1:])[0, 1]
    assert abs(neighbours) < 0.004


@pytest.mark.parametrize("mean", [0.0, 0.02, 0.5, 3.0, 40.0, 255.0])
def test_poisson_deviations_have_mean_zero_and_the_mean_as_variance(mean: float) -> None:
    found = Draws(5, 6).poisson_deviations(np.full((1000, 1000), mean, np.float32)).astype(np.float64)
    assert found.mean() == pytest.approx(0, abs=5 * np.sqrt(mean) / 1000 + 1e-9)
    assert found.var() == pytest.approx(mean, rel=0.05 if mean < 0.1 else 0.01)


def test_poisson_deviations_are_skewed_as_those_of_counts() -> None:
    found = Draws(5, 7).poisson_deviations(np.full((1000, 1000), 4.0, np.float32)).astype(np.float64)
    assert (found**3).mean() / 8 == pytest.approx(1 / np.sqrt(4), rel=0.03)
    assert found.min() == pytest.approx(-4, abs=0.05), "no count is below 0"
