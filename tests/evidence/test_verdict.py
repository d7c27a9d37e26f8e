"""Verdicts in words, for values where the answer is known."""

from dataclasses import replace

import pytest

from paragonsr.evidence.results import Results, TrainResult
from paragonsr.evidence.statistics import paired_difference
from paragonsr.evidence.verdict import comparison_verdicts


def _found(better: str, ours: list[float], theirs: list[float], protocol: str = "psnr_y/crop=2") -> Results:
    difference = paired_difference(ours, theirs)
    none = (None,) * len(ours)
    outcomes = (
        TrainResult("A", "Set14", "m", better, tuple(theirs), None, none, none),
        TrainResult("B", "Set14", "m", better, tuple(ours), difference, none, none),
    )
    return Results(("A", "B"), len(ours), len(ours), {}, {"m": protocol}, outcomes, (), (("Set14", "m"),))


@pytest.mark.parametrize(
    ("better", "ours", "said"),
    [
        ("higher", [30.1, 30.11, 30.09], "B is better than A by 0.100 dB, [+0.075, +0.125] (m on Set14; 3 seeds)."),
        ("higher", [29.9, 29.89, 29.91], "B is worse than A by 0.100 dB, [-0.125, -0.075] (m on Set14; 3 seeds)."),
        ("lower", [30.1, 30.11, 30.09], "B is worse than A by 0.100 dB, [+0.075, +0.125] (m on Set14; 3 seeds)."),
        ("lower", [29.9, 29.89, 29.91], "B is better than A by 0.100 dB, [-0.125, -0.075] (m on Set14; 3 seeds)."),
    ],
)
def test_an_interval_without_zero_is_a_verdict(better: str, ours: list[float], said: str) -> None:
    assert comparison_verdicts(_found(better, ours, [30.0, 30.0, 30.0])) == [said]


def test_an_interval_with_zero_is_none() -> None:
    (said,) = comparison_verdicts(_found("higher", [30.2, 29.9, 30.0], [30.0, 30.0, 30.0]))
    assert said.startswith("No difference between B and A is shown: +0.033 dB, [-0.346, +0.413] (m on Set14; 3 seeds")
    assert "would find" in said


def test_two_seeds_are_too_few() -> None:
    (said,) = comparison_verdicts(_found("higher", [30.2, 30.1], [30.0, 30.0]))
    assert said == "B ended 0.150 dB better than A (m on Set14); too few seeds for a verdict (2)."


@pytest.mark.parametrize("protocol", ["ssim_y/crop=2", "lpips(vgg16)/crop=0", "features(hed-vgg16)/crop=0", "flip/ldr"])
def test_a_metric_without_a_unit_has_four_digits(protocol: str) -> None:
    (said,) = comparison_verdicts(_found("higher", [0.91, 0.911, 0.909], [0.9, 0.9, 0.9], protocol))
    assert said.startswith("B is better than A by 0.0100, [")


def test_arms_that_decide_by_different_metrics_are_compared_on_each() -> None:
    found = _found("higher", [29.9, 29.89, 29.91], [30.0, 30.0, 30.0])
    second = _found("lower", [0.1, 0.101, 0.099], [0.2, 0.2, 0.2], "flip/ldr")
    flips = tuple(replace(outcome, metric="flip") for outcome in second.outcomes)
    both = replace(
        found,
        outcomes=(*found.outcomes, *flips),
        protocols=found.protocols | {"flip": "flip/ldr"},
        deciding=(("Set14", "m"), ("Set14", "flip")),
    )
    assert comparison_verdicts(both) == [
        "B is worse than A by 0.100 dB, [-0.125, -0.075] (m on Set14; 3 seeds).",
        "B is better than A by 0.1000, [-0.1025, -0.0975] (flip on Set14; 3 seeds).",
    ]
