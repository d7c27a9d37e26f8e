"""Calibration: what it sets, what it leaves to the user, and its table."""

from collections.abc import Callable
from typing import Any

import pytest

from paragonsr.automation.calibration import LATE_SHARE, calibrated, table
from paragonsr.automation.loss_balance import STATISTICS, LossBalance
from paragonsr.automation.options import LossBalanceOptions
from paragonsr.automation.protocol import Decision, Measurements, Steps

Make = Callable[..., Steps]
FLAT = {"texture_variance": 0.3, "edge_density": 0.26, "color_variation": 0.39, "complexity": 0.32}
TEXTURED = {"texture_variance": 0.68, "edge_density": 0.44, "color_variation": 0.47, "complexity": 0.53}
NANO, S = 24_000, 1_500_000


def decisions(options: LossBalanceOptions, make_steps: Make, facts: bool = True) -> list[Decision]:
    """Decisions in a run with constant norms."""
    automation = LossBalance(options, ["l1", "mssim"], 5000, NANO)
    made = list(automation.observe(Measurements(0, STATISTICS, FLAT))) if facts else []
    assert made == [], "statistics alone change nothing"
    factor = 1.0
    for start in range(0, 5000, 50):
        values: dict[str, Any] = {"loss_weight/l1": 1.0, "loss_grad/l1": 1.0}
        values |= {"loss_weight/mssim": 0.1 * factor, "loss_grad/mssim": 1.0}
        for decision in automation.observe(make_steps(start + 50, **values)):
            factor = float(decision.value)  # type: ignore[arg-type]
            made.append(decision)
    return made


def test_d12_with_all_older_keys_written_the_calibration_still_acts(make_steps: Make) -> None:
    ultra: dict[str, Any] = {"enabled": True, "momentum": 0.9, "adaptation_rate": 0.01, "min_weight": 1e-6}
    ultra |= {"max_weight": 100.0, "adaptation_threshold": 0.05, "baseline_iterations": 200, "enable_monitoring": True}
    assert decisions(LossBalanceOptions(auto_calibrate=True, **ultra), make_steps)
    assert decisions(LossBalanceOptions(auto_calibrate=True, **ultra), make_steps, facts=False) == []


def test_d14_auto_calibrate_may_be_false(make_steps: Make) -> None:
    assert decisions(LossBalanceOptions(enabled=True, auto_calibrate=False), make_steps) == []
    faded = decisions(LossBalanceOptions(enabled=True, auto_calibrate=False, late_share=0.7), make_steps)
    assert {decision.setting for decision in faded} == {"loss_weight/mssim"}


@pytest.mark.parametrize("late", [0.0, 0.3, 1.0])
def test_d11_what_the_user_wrote_wins(make_steps: Make, late: float) -> None:
    written = LossBalanceOptions(enabled=True, auto_calibrate=True, late_share=late)
    assert calibrated(written, FLAT, NANO) == written
    plain = LossBalanceOptions(enabled=True, late_share=late)
    assert decisions(written, make_steps) == decisions(plain, make_steps)
    assert bool(decisions(written, make_steps)) == (late < 1)


def test_a_configuration_that_was_written_out_in_full_calibrates_as_before() -> None:
    options = LossBalanceOptions(enabled=True, auto_calibrate=True)
    read_again = LossBalanceOptions.model_validate(options.model_dump())
    assert calibrated(read_again, FLAT, NANO) == calibrated(options, FLAT, NANO)


def test_d10_the_map_is_constant_and_the_table_says_so() -> None:
    options = LossBalanceOptions(enabled=True, auto_calibrate=True)
    made = {calibrated(options, f, n).late_share for f in (FLAT, TEXTURED) for n in (NANO, S)}
    assert made == {LATE_SHARE}
    assert any("the same for all images and networks" in line for line in table(options, FLAT, NANO))


def test_the_table_shows_every_figure_and_where_each_value_comes_from() -> None:
    for keys, shown in (
        ({"auto_calibrate": True}, f"{LATE_SHARE:g}  (calibrated)"),
        ({"auto_calibrate": True, "late_share": 0.25}, "0.25  (as written)"),
        ({"auto_calibrate": False}, "1  (default; auto_calibrate is off)"),
        ({"target_shares": {"mssim": 0.2}}, "mssim 0.2"),
        ({"share_floor": 0.4}, "0.4"),
    ):
        lines = table(LossBalanceOptions.model_validate({"enabled": True} | keys), TEXTURED, S)
        text = "\n".join(lines)
        assert shown in text
        assert "1500000 parameters" in text
        for name, value in TEXTURED.items():
            assert any(name in line and f"{value:.3f}" in line for line in lines)
        assert max(map(len, lines)) <= 80
