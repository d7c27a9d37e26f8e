"""ReduceLROnPlateau as an automation, on synthetic validation curves."""

import json

import pytest

from paragonsr.automation.plateau import ReduceOnPlateau
from paragonsr.automation.protocol import MetricValue, Validation


def _validation(iteration: int, value: float, better: str = "higher") -> Validation:
    return Validation(iteration, {"Set5": {"psnr": MetricValue(value, better, "psnr_y")}})  # type: ignore[arg-type]


def _plateau() -> ReduceOnPlateau:
    return ReduceOnPlateau("psnr", factor=0.5, patience=2000, threshold=0.01, min_factor=0.2)


def _decisions(automation: ReduceOnPlateau, values: list[float], better: str = "higher") -> list[tuple[int, float]]:
    made = []
    for index, value in enumerate(values, 1):
        for decision in automation.observe(_validation(index * 1000, value, better)):
            assert decision.setting == "lr_factor/plateau"
            made.append((index * 1000, decision.value))
    return made


def test_a_rising_figure_never_lowers_the_rate() -> None:
    assert _decisions(_plateau(), [30 + 0.02 * i for i in range(50)]) == []


def test_d6_patience_counts_iterations_not_validations() -> None:
    assert _decisions(_plateau(), [30.0, 30.0, 30.0, 30.0, 30.0]) == [(3000, 0.5), (5000, 0.25)]


def test_the_floor_holds() -> None:
    made = _decisions(_plateau(), [30.0] * 20)
    assert [value for _, value in made] == [0.5, 0.25, 0.2]


def test_d25_lower_is_better_metrics_are_followed_downwards() -> None:
    assert _decisions(_plateau(), [0.30 - 0.02 * i for i in range(10)], "lower") == []
    assert _decisions(_plateau(), [0.30, 0.31, 0.32], "lower") == [(3000, 0.5)]


@pytest.mark.parametrize("cut", range(1, 9))
def test_resuming_anywhere_gives_the_same_decisions(cut: int) -> None:
    curve = [30.0, 30.2, 30.2, 30.2, 30.2, 30.5, 30.5, 30.5, 30.5]
    whole = _decisions(_plateau(), curve)
    first, second = _plateau(), _plateau()
    made = [(i * 1000, d.value) for i, v in enumerate(curve[:cut], 1) for d in first.observe(_validation(i * 1000, v))]
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    made += [
        (i * 1000, d.value)
        for i, v in enumerate(curve[cut:], cut + 1)
        for d in second.observe(_validation(i * 1000, v))
    ]
    assert made == whole
    assert whole
