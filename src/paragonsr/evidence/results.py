"""Results of a comparison: final values, paired differences, time to the first arm's result, speed, memory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from paragonsr.errors import UserError
from paragonsr.evidence.arms import Arm
from paragonsr.evidence.runner import PlannedRun
from paragonsr.evidence.runs import Run
from paragonsr.evidence.statistics import Difference, first_reached, paired_difference


@dataclass(frozen=True)
class TrainResult:
    """One arm compared with the first, on one metric of one validation set."""

    arm: str
    set_name: str
    metric: str
    better: str
    finals: tuple[float, ...]
    """Value of the last validation of each seed."""
    difference: Difference | None
    """Difference to the first arm with the same seeds; None for the first arm, and if a value is not finite."""
    iterations_to_first: tuple[float | None, ...]
    """Iterations to the first arm's final value with the same seed; None if it is never reached."""
    seconds_to_first: tuple[float | None, ...]
    """The same in seconds of training."""


@dataclass(frozen=True)
class Cost:
    """Cost of an arm, mean over its seeds."""

    arm: str
    iterations: float
    """Iterations; fewer than planned if runs stopped early."""
    seconds: float
    samples_per_second: float
    peak_memory: float
    """Peak memory in bytes."""


@dataclass(frozen=True)
class Results:
    """All results of a comparison."""

    arms: tuple[str, ...]
    seeds: int
    """Seeds that every arm has finished so far."""
    of: int
    """Seeds of the whole comparison."""
    differing: dict[str, list[Any]]
    protocols: dict[str, str]
    outcomes: tuple[TrainResult, ...]
    costs: tuple[Cost, ...]
    deciding: tuple[tuple[str, str], ...]
    """Set and metric that decide which weights are best: of the first arm, then of those where it is another."""
    setting: dict[str, str] = field(default_factory=dict)
    """What all arms share, for the head of the page: budget, images, command."""


def results(
    arms: Sequence[Arm], planned_runs: Sequence[PlannedRun], differing: dict[str, list[Any]], of: int
) -> Results:
    """Read the values of all runs, for the sets and metrics that all arms share.

    Args:
        arms: the arms; the first is the baseline.
        planned_runs: all finished runs, with the same seeds for every arm.
        differing: keys in which the user's arms differ.
        of: seeds of the whole comparison.

    Raises:
        UserError: two runs of the same configuration saw different images.
    """
    runs = runs_of(arms, planned_runs)
    _check_same_images([run for of_arm in runs.values() for run in of_arm])
    first = runs[arms[0].name]
    outcomes = []
    protocols = {}
    for set_name, metric in measured(runs):
        value = first[0].validations[-1].metrics[set_name][metric]
        protocols[metric] = value.protocol
        finals = {name: [float(run.curve(metric, set_name)[1][-1]) for run in runs[name]] for name in runs}
        theirs = finals[arms[0].name]
        for name in runs:
            reached = [
                _reached(run, metric, set_name, target, value.better)
                for run, target in zip(runs[name], theirs, strict=True)
            ]
            iterations, seconds = zip(*reached, strict=True)
            paired = name != arms[0].name and np.isfinite([*finals[name], *theirs]).all()
            difference = paired_difference(finals[name], theirs) if paired else None
            outcomes.append(
                TrainResult(name, set_name, metric, value.better, tuple(finals[name]), difference, iterations, seconds)
            )
    costs = tuple(_cost(name, runs[name]) for name in runs)
    return Results(tuple(runs), len(first), of, differing, protocols, tuple(outcomes), costs, deciding(runs))


def runs_of(arms: Sequence[Arm], planned_runs: Sequence[PlannedRun]) -> dict[str, list[Run]]:
    """Runs of every arm, ordered by seed; arms in their order."""
    by_seed = sorted(planned_runs, key=lambda planned: planned.seed)
    return {arm.name: [planned.run for planned in by_seed if planned.arm.name == arm.name] for arm in arms}


def measured(runs: Mapping[str, Sequence[Run]]) -> list[tuple[str, str]]:
    """Set and metric of all values that every run has, in the order of the first run."""
    values = [run.validations[-1].metrics for of_arm in runs.values() for run in of_arm]
    return [
        (s, m) for s, metrics in values[0].items() for m in metrics if all(m in other.get(s, {}) for other in values)
    ]


def deciding(runs: Mapping[str, Sequence[Run]]) -> tuple[tuple[str, str], ...]:
    """Set and deciding metric of each arm, each once; the first value that every run has if none of them was measured
    in all runs."""
    values = measured(runs)
    chosen = dict.fromkeys(str(of_arm[0].description["metric"]) for of_arm in runs.values())
    return tuple(at for metric in chosen for at in values if at == (values[0][0], metric)) or tuple(values[:1])


def _check_same_images(runs: Sequence[Run]) -> None:
    """Check that runs with the same image folders have used the same images, even months apart."""
    seen: dict[tuple[object, ...], tuple[str, str]] = {}
    for run in runs:
        for phase, options in run.config["datasets"].items():
            if phase not in run.description["data"]:  # validation is off
                continue
            roots = (options["dataroot_gt"], options.get("dataroot_lq"), run.config["scale"])
            fingerprint = run.description["data"][phase]
            other, before = seen.setdefault((phase, repr(roots)), (run.name, fingerprint))
            if before != fingerprint:
                raise UserError(
                    f"the images of datasets.{phase} are not those that {other} used",
                    where=run.name,
                    fix="Restore the images, or start a new comparison with another --out.",
                )


def _reached(run: Run, metric: str, set_name: str, target: float, better: str) -> tuple[float | None, float | None]:
    """Iterations and seconds that a run needed to reach a target."""
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
        float(np.mean([run.iteration for run in runs])),
        float(np.mean(seconds)),
        float(np.mean(np.divide(samples, seconds))),
        float(max(run.steps["peak_memory"].max() for run in runs)),
    )


def as_json(found: Results, verdicts: Sequence[str]) -> str:
    """Content of compare.json, with its verdicts in words.

    Values that are not finite become null, because JSON has no such numbers.
    """
    outcomes = [
        vars(outcome)
        | {
            "finals": [value if np.isfinite(value) else None for value in outcome.finals],
            "difference": vars(outcome.difference) if outcome.difference else None,
        }
        for outcome in found.outcomes
    ]
    content = {
        "verdicts": verdicts,
        **found.setting,
        "arms": list(found.arms),
        "seeds": found.seeds,
        "of": found.of,
        "differing_keys": found.differing,
        "protocols": found.protocols,
        "deciding": found.deciding,
        "outcomes": outcomes,
        "costs": [vars(cost) for cost in found.costs],
    }
    return json.dumps(content, indent=2) + "\n"
