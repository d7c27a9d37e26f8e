"""The figures of a comparison: final values, paired differences, time to the first arm's result, speed, memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paragonsr.errors import UserError
from paragonsr.evidence.arms import Arm
from paragonsr.evidence.course import Leg
from paragonsr.evidence.runs import Run
from paragonsr.evidence.statistics import FEWEST, Difference, first_reached, paired_difference


@dataclass(frozen=True)
class Outcome:
    """One arm beside the first, on one metric of one validation set."""

    arm: str
    set_name: str
    metric: str
    better: str
    finals: tuple[float, ...]
    """Value of the last validation, one for each seed."""
    difference: Difference | None
    """To the first arm with the same seeds; None for the first arm itself."""
    iterations_to_first: tuple[float | None, ...]
    """Iterations to the first arm's final value with the same seed; None where it is never reached."""
    seconds_to_first: tuple[float | None, ...]
    """The same in seconds of training."""


@dataclass(frozen=True)
class Cost:
    """What an arm costs, mean over its seeds."""

    arm: str
    iterations: int
    seconds: float
    samples_per_second: float
    peak_memory: float
    """Bytes."""


@dataclass(frozen=True)
class Results:
    """Everything a comparison found."""

    arms: tuple[str, ...]
    seeds: int
    differing: dict[str, list[Any]]
    protocols: dict[str, str]
    outcomes: tuple[Outcome, ...]
    costs: tuple[Cost, ...]


def results(arms: Sequence[Arm], legs: Sequence[Leg], differing: dict[str, list[Any]]) -> Results:
    """Read the figures of all runs.

    Args:
        arms: the first is what the others are held to.
        legs: all runs.
        differing: what the user made different between the arms.

    Raises:
        UserError: two runs validated on different images.
    """
    runs = {arm.name: [leg.run for leg in _by_seed(arm, legs)] for arm in arms}
    first = arms[0].name
    _check_same_images(runs)
    outcomes = []
    last = runs[first][0].validations[-1]
    for set_name, metrics in last.figures.items():
        for metric, figure in metrics.items():
            finals = {name: [float(run.curve(metric, set_name)[1][-1]) for run in runs[name]] for name in runs}
            for name in runs:
                reached = [
                    _reached(run, metric, set_name, target, figure.better)
                    for run, target in zip(runs[name], finals[first], strict=True)
                ]
                iterations, seconds = zip(*reached, strict=True)
                difference = None if name == first else paired_difference(finals[name], finals[first])
                outcomes.append(
                    Outcome(name, set_name, metric, figure.better, tuple(finals[name]), difference, iterations, seconds)
                )
    protocols = {metric: figure.protocol for figures in last.figures.values() for metric, figure in figures.items()}
    costs = tuple(_cost(name, runs[name]) for name in runs)
    seeds = len(runs[first])
    return Results(tuple(runs), seeds, differing, protocols, tuple(outcomes), costs)


def _by_seed(arm: Arm, legs: Sequence[Leg]) -> list[Leg]:
    return sorted((leg for leg in legs if leg.arm.name == arm.name), key=lambda leg: leg.seed)


def _check_same_images(runs: dict[str, list[Run]]) -> None:
    seen = {
        name: {phase: print_ for phase, print_ in run.description["data"].items() if phase != "train"}
        for name, of_arm in runs.items()
        for run in of_arm
    }
    if len({tuple(sorted(prints.items())) for prints in seen.values()}) > 1:
        raise UserError("the validation images changed between two runs", where="paragonsr compare")


def _reached(run: Run, metric: str, set_name: str, target: float, better: str) -> tuple[float | None, float | None]:
    """Iterations and seconds of a run to a target."""
    iterations, values = run.curve(metric, set_name)
    at = first_reached(list(iterations), list(values), target, better)
    if at is None:
        return None, None
    return at, float(run.seconds_at(np.array(at)))


def _cost(name: str, runs: Sequence[Run]) -> Cost:
    seconds = [float(run.seconds[-1]) for run in runs]
    samples = [float(run.steps["batch_size"].sum()) for run in runs]
    return Cost(
        name,
        runs[0].iteration,
        float(np.mean(seconds)),
        float(np.mean(np.divide(samples, seconds))),
        float(max(run.steps["peak_memory"].max() for run in runs)),
    )


def as_dict(found: Results) -> dict[str, Any]:
    """compare.json."""
    return {
        "arms": list(found.arms),
        "seeds": found.seeds,
        "differing_keys": found.differing,
        "protocols": found.protocols,
        "outcomes": [
            vars(outcome) | {"difference": vars(outcome.difference) if outcome.difference else None}
            for outcome in found.outcomes
        ],
        "costs": [vars(cost) for cost in found.costs],
    }


def lines(found: Results) -> list[str]:
    """The tables for a terminal."""
    text = ["what differs:"]
    text += [f"  {key}: {' | '.join(map(str, values))}" for key, values in found.differing.items()]
    text += ["", *_aligned(outcome_table(found))]
    if found.seeds < FEWEST:
        text.append(f"with {found.seeds} seed{'s' * (found.seeds > 1)} no interval can be given: --seeds 3 or more")
    text += ["", *_aligned(cost_table(found)), ""]
    return text + [f"{metric}: {protocol}" for metric, protocol in found.protocols.items()]


def outcome_table(found: Results) -> list[tuple[str, ...]]:
    """Header and one row for each arm, set and metric."""
    header = ("arm", "set", "metric", "final", "difference to the first", "detectable", "it to first", "s to first")
    return [header, *(_row(outcome, found) for outcome in found.outcomes)]


def cost_table(found: Results) -> list[tuple[str, ...]]:
    """Header and one row for each arm."""
    return [
        ("arm", "iterations", "seconds", "samples/s", "peak MiB"),
        *(
            (
                c.arm,
                f"{c.iterations}",
                f"{c.seconds:.1f}",
                f"{c.samples_per_second:.1f}",
                f"{c.peak_memory / 2**20:.0f}",
            )
            for c in found.costs
        ),
    ]


def _row(outcome: Outcome, found: Results) -> tuple[str, ...]:
    digits = 4 if "ssim" in found.protocols[outcome.metric] else 3
    final = f"{np.mean(outcome.finals):.{digits}f}"
    names = (outcome.arm, outcome.set_name, outcome.metric, final)
    if outcome.difference is None:
        return (*names, "", "", "", "")
    d = outcome.difference
    interval = "" if d.low is None or d.high is None else f" [{d.low:+.{digits}f}, {d.high:+.{digits}f}]"
    detectable = "" if d.detectable is None else f"{d.detectable:.{digits}f}"
    reached = (_mean(outcome.iterations_to_first, 0), _mean(outcome.seconds_to_first, 1))
    return (*names, f"{d.mean:+.{digits}f}{interval}", detectable, *reached)


def _mean(values: Sequence[float | None], digits: int) -> str:
    """Mean of what was reached, and in how many seeds where not in all."""
    reached = [value for value in values if value is not None]
    if not reached:
        return "never"
    some = "" if len(reached) == len(values) else f" ({len(reached)} of {len(values)})"
    return f"{np.mean(reached):.{digits}f}{some}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
