"""The choice of the base rate from the losses of trials."""

import json

import pytest

from paragonsr.automation.protocol import Measurements, Observation, Validation
from paragonsr.automation.rate_choice import TRIED, RateChoice

USUAL = 1e-3


def _chosen(losses: dict[float, float]) -> float:
    facts = Measurements(0, TRIED, {repr(rate): loss for rate, loss in losses.items()})
    (decision,) = RateChoice(USUAL).observe(facts)
    assert (decision.automation, decision.setting) == ("learning_rate_choice", "lr")
    assert decision.values == facts.values
    assert isinstance(decision.value, float)
    return decision.value


def test_the_largest_of_those_that_are_about_as_good() -> None:
    assert _chosen({5e-4: 0.0105, 1e-3: 0.0100, 2e-3: 0.01004, 4e-3: 0.0101}) == 2e-3
    assert _chosen({5e-4: 0.0100, 1e-3: 0.01006, 2e-3: 0.0110, 4e-3: 0.0200}) == 5e-4
    assert _chosen({5e-4: 0.0150, 1e-3: 0.0130, 2e-3: 0.0120, 4e-3: 0.0110}) == 4e-3


def test_a_rate_that_came_apart_is_never_taken() -> None:
    assert _chosen({1e-3: 0.0101, 2e-3: 0.01, 4e-3: float("inf")}) == 2e-3
    assert _chosen({1e-3: 0.5, 2e-3: float("nan")}) == 1e-3


@pytest.mark.parametrize(
    ("losses", "reason"), [({}, "too short"), ({1e-2: float("inf")}, "no learning rate stayed finite")]
)
def test_without_a_trial_that_held_the_usual_rate_is_taken_and_said(losses: dict[float, float], reason: str) -> None:
    assert _chosen(losses) == USUAL
    (decision,) = RateChoice(USUAL).observe(Measurements(0, TRIED, {repr(rate): loss for rate, loss in losses.items()}))
    assert reason in decision.reason


def test_a_written_rate_stays_and_a_better_one_is_named() -> None:
    facts = Measurements(0, TRIED, {"0.0002": 0.0140, "0.001": 0.0120, "0.002": 0.0121, "0.004": 0.0100})
    (decision,) = RateChoice(USUAL, 2e-4).observe(facts)
    assert (decision.setting, decision.value, decision.dry_run) == ("lr", 4e-3, True)
    assert decision.reason.startswith("keeping the configured 0.0002")
    assert RateChoice(USUAL, 4e-3).observe(facts) == ()


OWN = {"AdamW 0.0002": 0.0140, "AdamW 0.004": 0.0100}


@pytest.mark.parametrize(
    ("rival", "chosen"),
    [
        ({"SOAP 0.003": 0.0090, "SOAP 0.006": 0.00904}, ["SOAP", 6e-3]),
        ({"SOAP 0.003": 0.0090, "SOAP 0.006": float("nan")}, ["SOAP", 3e-3]),
        ({"SOAP 0.006": 0.00996}, [4e-3]),
        ({"SOAP 0.006": float("inf")}, [4e-3]),
    ],
)
def test_the_optimiser_is_replaced_by_one_that_is_clearly_better(rival: dict[str, float], chosen: list[object]) -> None:
    decisions = RateChoice(USUAL, None, "AdamW").observe(Measurements(0, TRIED, OWN | rival))
    assert [decision.value for decision in decisions] == chosen
    assert [decision.setting for decision in decisions] == ["optimiser", "lr"][-len(chosen) :]
    assert not any(decision.dry_run for decision in decisions)


def test_a_written_rate_belongs_to_the_written_optimiser() -> None:
    tried = {"AdamW 0.0002": 0.0140, "SOAP 0.006": 0.0090}
    better, lr = RateChoice(USUAL, 2e-4, "AdamW").observe(Measurements(0, TRIED, tried))
    assert (better.value, lr.value) == ("SOAP", 6e-3)
    assert "lower loss than AdamW" in better.reason
    assert "SOAP 0.006: 0.00900" in better.reason
    assert RateChoice(USUAL, 2e-4, "AdamW").observe(Measurements(0, TRIED, tried | {"SOAP 0.006": 0.0140})) == ()
    assert RateChoice(USUAL, 2e-4, "AdamW").observe(Measurements(0, TRIED, {})) == ()


def test_it_says_what_it_may_change() -> None:
    assert RateChoice(USUAL).may_change == "lr"
    assert RateChoice(USUAL, 2e-4).may_change == "nothing: keeps the configured 0.0002"
    assert RateChoice(USUAL, 2e-4, "AdamW").may_change == "optimiser, lr"


@pytest.mark.parametrize("losses", [{}, {"0.001": 0.01, "0.004": 0.00996}, {"0.001": float("inf")}])
def test_a_written_rate_about_as_good_as_any_needs_no_word(losses: dict[str, float]) -> None:
    assert RateChoice(USUAL, 1e-3).observe(Measurements(0, TRIED, losses)) == ()


@pytest.mark.parametrize("observation", [Measurements(0, "training images", {"0.001": 1.0}), Validation(10, {})])
def test_nothing_else_is_its_business(observation: Observation) -> None:
    assert RateChoice(USUAL).observe(observation) == ()


def test_the_reason_names_what_each_rate_reached() -> None:
    (decision,) = RateChoice(USUAL).observe(Measurements(0, TRIED, {"0.001": 0.0123, "0.002": 0.0234}))
    assert "0.001: 0.01230, 0.002: 0.02340" in decision.reason


def test_d24_its_state_is_json() -> None:
    choice = RateChoice(USUAL)
    choice.load_state_dict(json.loads(json.dumps(choice.state_dict())))
    assert choice.state_dict() == {}
