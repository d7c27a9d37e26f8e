"""The number of threads: more of them must be worth it."""

import pytest

from paragonsr.automation.protocol import Measurements
from paragonsr.automation.thread_choice import TIMED, ThreadChoice, fewest_worth_it


@pytest.mark.parametrize(
    ("speeds", "chosen"),
    [
        ({"1": 1.0}, 1),
        ({"1": 1.0, "2": 1.04}, 1),
        ({"1": 1.0, "2": 1.05}, 2),
        ({"1": 1.0, "2": 1.06}, 2),
        ({"1": 1.0, "2": 0.2}, 1),
        ({"1": 1.0, "8": 3.0, "16": 3.1}, 8),
        ({"1": 1.0, "8": 3.0, "16": 3.2}, 16),
        ({"1": 1.0, "8": 1.04, "16": 1.06}, 16),
    ],
)
def test_more_threads_must_win_by_the_margin(speeds: dict[str, float], chosen: int) -> None:
    assert fewest_worth_it(speeds) == chosen
    (decision,) = ThreadChoice().observe(Measurements(0, TIMED, speeds))
    assert (decision.automation, decision.setting, decision.value) == ("thread_choice", "num_threads", chosen)
    assert dict(decision.values) == speeds


def test_other_measurements_decide_nothing() -> None:
    assert ThreadChoice().observe(Measurements(0, "learning rates", {"1": 1.0, "2": 2.0})) == ()
