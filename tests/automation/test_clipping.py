"""Adaptive clipping on synthetic norms."""

import json
from collections.abc import Callable

import numpy as np

from paragonsr.automation.clipping import HEADROOM, LARGEST_RISE, GradientClipping
from paragonsr.automation.options import GradientClippingOptions
from paragonsr.automation.protocol import Steps

Make = Callable[..., Steps]


def _run(norms: np.ndarray, make_steps: Make, resume_at: int | None = None) -> list[tuple[int, float]]:
    clipping = GradientClipping(GradientClippingOptions(percentile=90))
    thresholds = []
    for start in range(0, len(norms), 50):
        if start == resume_at:
            state = json.loads(json.dumps(clipping.state_dict()))
            clipping = GradientClipping(GradientClippingOptions(percentile=90))
            clipping.load_state_dict(state)
        window = make_steps(start + 50, grad_norm=norms[start : start + 50])
        thresholds += [(start + 50, float(d.value)) for d in clipping.observe(window)]  # type: ignore[arg-type]
    return thresholds


def test_the_threshold_is_the_percentile_of_the_full_history(make_steps: Make) -> None:
    norms = np.arange(1.0, 101.0)
    assert _run(norms, make_steps) == [(100, HEADROOM * float(np.percentile(norms, 90)))]


def test_d21_small_gradients_are_not_clipped_more_and_more(make_steps: Make) -> None:
    norms = np.random.default_rng(0).lognormal(0, 0.2, 4000) * np.geomspace(1, 1e-3, 4000)
    thresholds = dict(_run(norms, make_steps))
    threshold, usual = np.inf, np.geomspace(1, 1e-3, 4000)
    for position, norm in enumerate(norms):
        threshold = thresholds.get(position, threshold)
        assert norm <= threshold, "nothing is clipped while nothing unusual happens"
        if position > 100:
            assert 2 < threshold / usual[position] < 10, "the threshold follows"


def test_d21_a_burst_does_not_lift_the_threshold_to_its_own_height(make_steps: Make) -> None:
    norms = np.concatenate([np.full(200, 1.0), np.full(50, 1000.0), np.full(150, 1.0)])
    thresholds = _run(norms, make_steps)
    assert max(value for _, value in thresholds) <= HEADROOM * LARGEST_RISE**2  # it dominates half of two histories
    assert thresholds[-1][1] < 1.1 * HEADROOM


def test_steady_norms_bring_one_decision_and_nan_none(make_steps: Make) -> None:
    norms = np.random.default_rng(1).normal(1, 0.02, 2000)
    norms[::7] = np.nan
    assert len(_run(norms, make_steps)) == 1


def test_resumed_in_the_middle_it_decides_the_same(make_steps: Make) -> None:
    norms = np.random.default_rng(2).lognormal(0, 1, 1000) * np.geomspace(1, 1e-3, 1000)
    whole = _run(norms, make_steps)
    assert len(whole) > 1
    for middle in (50, 400, 650):
        assert _run(norms, make_steps, resume_at=middle) == whole
