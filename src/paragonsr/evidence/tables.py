"""What a comparison found, as rows of text: for the terminal and for the page."""

from collections.abc import Sequence

import numpy as np

from paragonsr.evidence.results import Results, TrainResult
from paragonsr.evidence.statistics import FEWEST

Rows = list[tuple[str, ...]]
"""A header and the rows below it."""


def lines(found: Results) -> list[str]:
    """Everything, for a terminal."""
    text = ["what differs:"]
    for arm, changes in zip(found.arms, changes_of(found), strict=True):
        text += [f"  {arm}", *(f"    {change}" for change in changes)]
    for (set_name, metric), rows in outcome_tables(found).items():
        text += ["", f"{set_name}: {metric}  ({found.protocols[metric]})", *_aligned(rows)]
    text += ["", *no_interval(found), *_aligned(cost_table(found))]
    return text


def no_interval(found: Results) -> list[str]:
    """A sentence where there are too few seeds for intervals."""
    if found.seeds >= FEWEST:
        return []
    return [f"with {seeds(found.seeds)} no interval can be given: repeat with --seeds {FEWEST} or more"]


def seeds(count: int) -> str:
    """So many seeds."""
    return f"{count} seed{'s' * (count > 1)}"


def changes_of(found: Results) -> list[list[str]]:
    """For every arm: the differing keys with their values; beyond the first arm only those that differ from its."""
    everything = [
        [f"{key}: {values[i]}" for key, values in found.differing.items() if i == 0 or values[i] != values[0]]
        for i in range(len(found.arms))
    ]
    return [changes or ["nothing"] for changes in everything]


def outcome_tables(found: Results) -> dict[tuple[str, str], Rows]:
    """Set and metric -> one row for each arm."""
    header = ("arm", "final", "difference to the first", "detectable", "it to first", "s to first")
    tables: dict[tuple[str, str], Rows] = {}
    for outcome in found.outcomes:
        rows = tables.setdefault((outcome.set_name, outcome.metric), [header])
        rows.append(_row(outcome, found))
    return tables


def cost_table(found: Results) -> Rows:
    """One row for each arm."""
    return [
        ("arm", "iterations", "seconds", "samples/s", "peak MiB"),
        *(
            (
                c.arm,
                f"{c.iterations:.0f}",
                f"{c.seconds:.1f}",
                f"{c.samples_per_second:.1f}",
                f"{c.peak_memory / 2**20:.0f}",
            )
            for c in found.costs
        ),
    ]


def digits_of(protocol: str) -> int:
    """Digits that a value is shown with."""
    return 4 if "ssim" in protocol else 3


def _row(outcome: TrainResult, found: Results) -> tuple[str, ...]:
    digits = digits_of(found.protocols[outcome.metric])
    names = (outcome.arm, f"{np.mean(outcome.finals):.{digits}f}")
    if outcome.difference is None:
        return (*names, "" if outcome.arm == found.arms[0] else "not finite", "", "", "")
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


def _aligned(rows: Rows) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
