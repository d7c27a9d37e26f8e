"""The divergence guard, on synthetic windows of finite and non-finite steps."""

import numpy as np

from paragonsr.automation.divergence import DivergenceGuard
from paragonsr.automation.protocol import Decision, Steps


def _window(finite: list[int]) -> Steps:
    return Steps(len(finite), {"finite": np.array(finite, dtype=float)})


def _settings(decisions: object) -> list[str]:
    return [decision.setting for decision in decisions]  # type: ignore[attr-defined]


def test_single_bad_steps_are_left_to_the_skip() -> None:
    guard = DivergenceGuard()
    assert list(guard.observe(_window([1, 0, 1, 0, 0, 0, 0, 1]))) == []


def test_a_run_of_bad_steps_rolls_back_at_a_lower_rate() -> None:
    decisions = list(DivergenceGuard(tolerance=3).observe(_window([1, 1, 0, 0, 0])))
    assert _settings(decisions) == ["rollback", "lr_factor/divergence"]
    assert decisions[1].value == 0.5


def test_a_run_is_followed_across_windows() -> None:
    guard = DivergenceGuard(tolerance=5)
    assert list(guard.observe(_window([1, 0, 0, 0]))) == []
    assert _settings(guard.observe(_window([0, 0]))) == ["rollback", "lr_factor/divergence"]


def test_the_rate_falls_with_each_rollback_and_then_it_gives_up() -> None:
    guard = DivergenceGuard(tolerance=2, attempts=2)
    made: list[Decision] = [d for _ in range(3) for d in guard.observe(_window([0, 0]))]
    assert [(d.setting, d.value) for d in made] == [
        ("rollback", True),
        ("lr_factor/divergence", 0.5),
        ("rollback", True),
        ("lr_factor/divergence", 0.25),
        ("give_up", True),
    ]


def test_resuming_keeps_the_count() -> None:
    first, second = DivergenceGuard(tolerance=4), DivergenceGuard(tolerance=4)
    first.observe(_window([1, 0, 0]))
    second.load_state_dict(first.state_dict())
    assert _settings(second.observe(_window([0, 0]))) == ["rollback", "lr_factor/divergence"]
