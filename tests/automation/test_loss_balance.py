"""Loss balance on synthetic norms: its targets, what it does not change, and that it can be resumed anywhere."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from paragonsr.automation.dry_run import DryRun
from paragonsr.automation.loss_balance import STATISTICS, LossBalance
from paragonsr.automation.options import LossBalanceOptions
from paragonsr.automation.protocol import Automation, Decision, Measurements, Steps
from paragonsr.errors import UserError
from paragonsr.losses.options import L1Options, MSEOptions, MSSSIMLossOptions, SSIMLossOptions
from paragonsr.training.engine.device_context import DeviceContext
from paragonsr.training.engine.objective import Objective

Make = Callable[..., Steps]
Floats = NDArray[np.float64]
WINDOW = 50
LABELS = ["l1", "mssim"]
TOTAL = 10_000
PHOTOGRAPHS = {"texture_variance": 0.47, "edge_density": 0.36, "color_variation": 0.45, "complexity": 0.43}


@dataclass
class Course:
    """Result of a run: decisions, and the multipliers at each step."""

    decisions: list[tuple[int, Decision]] = field(default_factory=list)
    multipliers: dict[str, list[float]] = field(default_factory=dict)

    @property
    def values(self) -> list[float]:
        """Decisions."""
        return [float(decision.value) for _, decision in self.decisions]  # type: ignore[arg-type]

    def shares(self, norms: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Floats]:
        """Shares of the gradient at each step, for norms without noise."""
        gradients = {label: np.array(self.multipliers[label]) * norms[label] * weights[label] for label in norms}
        whole = sum(gradients.values())
        return {label: gradient / whole for label, gradient in gradients.items()}


def balance(labels: list[str] = LABELS, **keys: Any) -> LossBalance:
    return LossBalance(LossBalanceOptions(enabled=True, **keys), labels, TOTAL, 100_000)


def run(
    automation: Automation,
    norms: Mapping[str, Any],
    weights: Mapping[str, Any],
    count: int,
    make_steps: Make,
    *,
    obeyed: bool = True,
    resume_at: int | None = None,
    again: Callable[[], LossBalance] = balance,
) -> Course:
    """Feed `count` steps in windows; decisions take effect at the next window, as in training."""
    course = Course(multipliers={label: [] for label in norms})
    whole = {label: np.broadcast_to(np.asarray(norms[label], float), count) for label in norms}
    base = {label: np.broadcast_to(np.asarray(weights[label], float), count) for label in norms}
    factors = dict.fromkeys(norms, 1.0)
    for start in range(0, count, WINDOW):
        if start == resume_at:
            state = json.loads(json.dumps(automation.state_dict()))
            automation = again()
            automation.load_state_dict(state)
        part = slice(start, start + WINDOW)
        values: dict[str, Any] = {}
        for label in norms:
            weight = base[label][part] * factors[label]
            values[f"loss_weight/{label}"] = weight
            values[f"loss_grad/{label}"] = np.where(weight == 0, np.nan, whole[label][part])
            course.multipliers[label] += [factors[label]] * WINDOW
        for decision in automation.observe(make_steps(start + WINDOW, WINDOW, **values)):
            course.decisions.append((start + WINDOW, decision))
            label = decision.setting.removeprefix("loss_weight/")
            if obeyed:
                assert decision.value != factors[label], "nothing is repeated"
                factors[label] = course.values[-1]
    return course


def noisy(level: Any, count: int, seed: int, amount: float = 0.5) -> Floats:
    return np.asarray(level * (1 + np.random.default_rng(seed).uniform(-amount, amount, count)))


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("heavier", LABELS)
def test_d8_weights_accumulate_until_a_thousandfold_imbalance_is_gone(
    make_steps: Make, noise: float, heavier: str
) -> None:
    rate, baseline, imbalance = 0.01, 200, 1000.0
    adaptations = 1.2 * math.log(imbalance) / rate
    count = baseline + math.ceil(adaptations / WINDOW) * WINDOW + 1000
    levels = {label: imbalance if label == heavier else 1.0 for label in LABELS}
    shares = {"l1": 0.5, "mssim": 0.5}
    automation = balance(target_shares=shares, adaptation_rate=rate, min_weight=1e-5, max_weight=1e5)
    norms = {label: noisy(level, count, seed, noise) for seed, (label, level) in enumerate(levels.items())}
    weights = dict.fromkeys(LABELS, 1.0)
    course = run(automation, norms, weights, count, make_steps)
    reached = course.shares(levels, weights)
    late = baseline + math.floor(adaptations)
    for label, target in shares.items():
        assert np.abs(reached[label][late:] / target - 1).max() < 0.1
    lighter = next(label for label in LABELS if label != heavier)
    assert {decision.setting for _, decision in course.decisions} == {f"loss_weight/{lighter}"}, "the anchor stays"


def test_no_weight_moves_faster_than_the_rate(make_steps: Make) -> None:
    automation = balance(target_shares={"l1": 0.5, "mssim": 0.5}, adaptation_rate=0.002)
    course = run(automation, {"l1": 1.0, "mssim": 0.01}, {"l1": 1.0, "mssim": 1.0}, 2000, make_steps)
    logs = np.log([1.0, *course.values])
    at = np.array([200] + [iteration for iteration, _ in course.decisions])
    assert len(logs) > 10
    assert (np.diff(logs) <= 0.002 * np.diff(at) + 1e-12).all()
    assert np.isclose(logs[-1], 0.002 * (at[-1] - 200)), "and no slower"


def test_the_multiplier_stays_within_its_bounds_and_is_not_repeated_there(make_steps: Make) -> None:
    bounds: dict[str, Any] = {"min_weight": 0.5, "max_weight": 3.0}
    for level, moved, bound in ((1e-6, "mssim", 3.0), (1e9, "l1", 3.0), (0.9, "mssim", 0.5)):
        shares = {"l1": 0.5, "mssim": 0.5} if bound == 3.0 else {"l1": 0.99, "mssim": 0.01}
        automation = balance(target_shares=shares, adaptation_rate=0.1, **bounds)
        course = run(automation, {"l1": 1.0, "mssim": level}, {"l1": 1.0, "mssim": 1.0}, 4000, make_steps)
        assert {decision.setting for _, decision in course.decisions} == {f"loss_weight/{moved}"}
        assert course.values[-1] == pytest.approx(bound)
        assert all(0.5 * (1 - 1e-12) <= value <= 3 * (1 + 1e-12) for value in course.values)


def test_without_targets_the_static_mix_is_left_alone_however_noisy(make_steps: Make) -> None:
    count = 10_000
    norms = {"l1": noisy(1.0, count, 0), "mssim": noisy(np.linspace(1.0, 0.55, count), count, 1)}
    assert run(balance(), norms, {"l1": 1.0, "mssim": 0.1}, count, make_steps).decisions == []


def test_a_target_that_is_kept_is_not_chased_through_the_noise(make_steps: Make) -> None:
    count = 50_000
    norms = {"l1": noisy(1.0, count, 0, 0.1), "mssim": noisy(1.0, count, 1)}
    course = run(balance(share_floor=1.0), norms, {"l1": 1.0, "mssim": 0.1}, count, make_steps)
    assert len(course.decisions) <= 5


def test_a_share_that_falls_is_held_at_its_floor(make_steps: Make) -> None:
    count = 10_000
    norms = {"l1": np.ones(count), "mssim": np.geomspace(1.0, 0.05, count)}
    weights = {"l1": 1.0, "mssim": 0.1}
    course = run(balance(share_floor=0.4), norms, weights, count, make_steps)
    begun = 0.1 / 1.1
    shares = course.shares(norms, weights)["mssim"]
    assert 0.3 * begun < shares.min() < 0.42 * begun
    untouched = run(balance(share_floor=0.0), norms, weights, count, make_steps)
    assert untouched.decisions == []
    assert untouched.shares(norms, weights)["mssim"].min() < 0.1 * begun


def test_one_wild_batch_neither_shifts_the_baseline_nor_calls_for_a_change(make_steps: Make) -> None:
    norms = np.ones(3000)
    norms[[3, 40, 777, 2100]] = 30.0
    course = run(balance(share_floor=1.0), {"l1": 1.0, "mssim": norms}, {"l1": 1.0, "mssim": 0.1}, 3000, make_steps)
    assert course.decisions == []


def test_late_share_fades_all_losses_but_the_largest(make_steps: Make) -> None:
    norms = dict.fromkeys(["mssim", "l1", "fft"], 1.0)
    weights = {"mssim": 0.2, "l1": 1.0, "fft": 0.1}
    course = run(balance(list(norms), late_share=0.25), norms, weights, TOTAL, make_steps)
    shares = course.shares(norms, weights)
    for label in ("mssim", "fft"):
        for progress in (0.1, 0.5, 0.99):
            wanted = weights[label] / 1.3 * (1 - 0.75 * progress)
            assert shares[label][int(progress * TOTAL)] == pytest.approx(wanted, rel=0.2)
    assert set(course.multipliers["l1"]) == {1.0}
    assert 5 < len(course.decisions) < 80
    assert course.decisions[-1][0] < TOTAL, "what is decided with the last step changes nothing"


def test_d9_what_counts_is_relative(make_steps: Make) -> None:
    courses = []
    for scale in (1.0, 1e-7):
        norms = {"l1": scale, "mssim": scale * np.geomspace(1, 0.1, 3000)}
        courses.append(run(balance(), norms, {"l1": 1.0, "mssim": 0.1}, 3000, make_steps))
    assert courses[0].decisions
    assert [i for i, _ in courses[0].decisions] == [i for i, _ in courses[1].decisions]
    assert courses[0].values == pytest.approx(courses[1].values)


def test_d16_a_ramp_of_the_weight_is_the_users_and_is_not_fought(make_steps: Make) -> None:
    weights = {"l1": np.linspace(1.0, 0.05, 6000), "mssim": np.linspace(0.02, 0.4, 6000)}
    course = run(balance(share_floor=1.0), {"l1": 1.0, "mssim": 1.0}, weights, 6000, make_steps)
    assert course.decisions == []


def test_a_loss_that_joins_late_has_a_baseline_of_its_own(make_steps: Make) -> None:
    norms, weights = {"l1": 1.0, "mssim": 0.1}, {"l1": 1.0, "mssim": np.where(np.arange(4000) < 2000, 0.0, 1.0)}
    automation = balance(target_shares={"mssim": 0.3}, baseline_iterations=200)
    course = run(automation, norms, weights, 4000, make_steps)
    assert course.decisions[0][0] > 2200
    assert course.shares(norms, weights)["mssim"][-1] == pytest.approx(0.3, rel=0.1)


@pytest.mark.parametrize("weight", [0.0, -0.05])
def test_d18_a_weight_that_is_not_positive_leaves_its_loss_out(make_steps: Make, weight: float) -> None:
    norms = {"l1": 1.0, "mssim": np.geomspace(1, 1e-3, 2000)}
    course = run(balance(share_floor=1.0), norms, {"l1": 1.0, "mssim": weight}, 2000, make_steps)
    assert course.decisions == []
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        SSIMLossOptions(loss_weight=-0.05)


def test_a_loss_that_is_not_finite_is_left_out_and_named_once(make_steps: Make) -> None:
    bad = np.ones(4000)
    bad[700:1500] = np.nan
    norms = {"l1": 1.0, "mssim": np.geomspace(1, 0.01, 4000), "fft": bad}
    automation = balance(list(norms))
    course = run(automation, norms, {"l1": 1.0, "mssim": 0.1, "fft": 0.1}, 4000, make_steps)
    reasons = [decision.reason for _, decision in course.decisions]
    assert sum("fft was not finite" in reason for reason in reasons) == 1
    assert len(reasons) > 3
    assert all(math.isfinite(value) for value in course.values)
    json.dumps(automation.state_dict(), allow_nan=False)


def test_zero_gradients_and_lone_losses_bring_no_decision(make_steps: Make) -> None:
    still = run(balance(share_floor=1.0), {"l1": 1.0, "mssim": 0.0}, {"l1": 1.0, "mssim": 1.0}, 500, make_steps)
    alone = run(balance(["l1"]), {"l1": np.geomspace(1, 1e-3, 500)}, {"l1": 1.0}, 500, make_steps)
    assert still.decisions == alone.decisions == []


def test_a_dry_run_wishes_what_an_obeyed_one_gets(make_steps: Make) -> None:
    norms = {"l1": noisy(1.0, 4000, 3, 0.2), "mssim": noisy(np.geomspace(1, 0.05, 4000), 4000, 4, 0.2)}
    weights = {"l1": 1.0, "mssim": 0.1}
    acting = run(balance(late_share=0.5), norms, weights, 4000, make_steps)
    dry = DryRun(balance(late_share=0.5, dry_run=True))
    wished = run(dry, norms, weights, 4000, make_steps, obeyed=False)
    assert len(acting.decisions) > 5
    assert wished.values == pytest.approx(acting.values)
    assert all(decision.dry_run for _, decision in wished.decisions)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    middle=st.integers(0, 59),
    seed=st.integers(0, 2**32 - 1),
    keys=st.fixed_dictionaries(
        {
            "momentum": st.sampled_from([0.0, 0.9, 0.95]),
            "adaptation_rate": st.sampled_from([0.001, 0.01]),
            "adaptation_threshold": st.sampled_from([0.0, 0.03, 0.1]),
            "baseline_iterations": st.sampled_from([0, 75, 300]),
            "share_floor": st.sampled_from([0.5, 0.9]),
            "target_shares": st.sampled_from([{}, {"mssim": 0.3}]),
            "auto_calibrate": st.booleans(),
        }
    ),
)
def test_d24_resumed_anywhere_it_decides_the_same(
    make_steps: Make, middle: int, seed: int, keys: dict[str, Any]
) -> None:
    count = 60 * WINDOW
    norms = {"l1": noisy(1.0, count, seed), "mssim": noisy(np.geomspace(1, 0.05, count), count, seed + 1)}
    norms["mssim"][np.random.default_rng(seed).integers(0, count, 20)] = np.nan
    weights = {"l1": 1.0, "mssim": np.where(np.arange(count) < 400, 0.0, 0.1)}
    courses = []
    for resume_at in (None, middle * WINDOW):
        automation = balance(**keys)
        assert automation.observe(Measurements(0, STATISTICS, PHOTOGRAPHS)) == ()
        again = lambda: balance(**keys)  # noqa: E731
        courses.append(run(automation, norms, weights, count, make_steps, resume_at=resume_at, again=again))
    assert courses[0].decisions
    assert courses[0] == courses[1]


def test_the_state_that_was_saved_does_not_change_with_the_automation(make_steps: Make) -> None:
    automation = balance()
    run(automation, {"l1": 1.0, "mssim": 1.0}, {"l1": 1.0, "mssim": 0.1}, 200, make_steps)
    state = automation.state_dict()
    kept = json.dumps(state)
    other = balance()
    other.load_state_dict(state)
    for one in (automation, other):
        run(one, {"l1": 1.0, "mssim": 0.3}, {"l1": 1.0, "mssim": 0.1}, 200, make_steps)
        assert json.dumps(state) == kept


@pytest.mark.parametrize("shares", [{"lpips": 0.1}, {"l1": 1.0}, {"l1": 0.5, "mssim": 0.2}])
def test_target_shares_that_cannot_be_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(UserError, match="target_shares"):
        balance(target_shares=shares)


@pytest.mark.parametrize("keys", [{"min_weight": 2.0, "max_weight": 1.0}, {"target_shares": {"l1": -0.1}}])
def test_keys_out_of_range_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LossBalanceOptions(**keys)


@pytest.mark.parametrize("factor", [1.0, 7.3])
def test_the_combined_gradient_is_that_of_the_weighted_sum(factor: float) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.GELU(), torch.nn.Conv2d(8, 3, 3))
    lr, hr = torch.rand(2, 3, 50, 46), torch.rand(2, 3, 48, 44)
    losses = [L1Options(), MSEOptions(), MSSSIMLossOptions(loss_weight=0.05, scales="auto")]
    objective = Objective(losses, DeviceContext(torch.device("cpu"), None, False))
    weights = objective.weights(0, {"mssim": factor, "l1": 0.9})

    def gradient() -> torch.Tensor:
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    sr = network(lr)
    sr.backward(objective.gradient(sr, hr, weights).total)
    ours = gradient()
    network.zero_grad()
    sr = network(lr)
    torch.stack([weights[label] * loss(sr, hr) for label, loss in objective.losses.items()]).sum().backward()
    theirs = gradient()
    assert ((ours - theirs).norm() / theirs.norm()).item() < 1e-6
