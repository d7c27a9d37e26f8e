"""Results of a comparison as rows of text, for the terminal and for the page."""

from collections.abc import Sequence

import numpy as np

from paragonsr.evidence.results import Results, TrainResult
from paragonsr.evidence.verdict import comparison_verdicts, digits_of, direction, few_seeds

Rows = list[tuple[str, ...]]
"""A header and the rows below it."""


def lines(found: Results) -> list[str]:
    """All results, for a terminal."""
    text = [*comparison_verdicts(found), "", "what differs:"]
    for arm, changes in zip(found.arms, changes_of(found), strict=True):
        text += [f"  {arm}", *(f"    {change}" for change in changes)]
    for (set_name, metric), rows in outcome_tables(found).items():
        text += ["", f"{title(found, set_name, metric)}  ({found.protocols[metric]})", *_aligned(rows)]
    text += ["", *few_seeds(found), *_aligned(cost_table(found))]
    return text


def changes_of(found: Results) -> list[list[str]]:
    """Differing keys with their values for every arm; after the first arm, only those that differ from it."""
    everything = [
        [f"{key}: {values[i]}" for key, values in found.differing.items() if i == 0 or values[i] != values[0]]
        for i in range(len(found.arms))
    ]
    return [changes or ["nothing"] for changes in everything]


def title(found: Results, set_name: str, metric: str) -> str:
    """Set and metric, and which direction is better if it is down."""
    better = next(outcome.better for outcome in found.outcomes if outcome.metric == metric)
    return f"{set_name}: {metric}{direction(better)}"


def outcome_tables(found: Results) -> dict[tuple[str, str], Rows]:
    """Set and metric -> one row per arm."""
    header = ("arm", "final", "difference to the first", "detectable", "it to first", "s to first")
    tables: dict[tuple[str, str], Rows] = {}
    for outcome in found.outcomes:
        rows = tables.setdefault((outcome.set_name, outcome.metric), [header])
        rows.append(_row(outcome, found))
    return tables


def cost_table(found: Results) -> Rows:
    """One row per arm."""
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
    """Mean over the seeds that reached it, with their number if not all did."""
    reached = [value for value in values if value is not None]
    if not reached:
        return "never"
    some = "" if len(reached) == len(values) else f" ({len(reached)} of {len(values)})"
    return f"{np.mean(reached):.{digits}f}{some}"


def _aligned(rows: Rows) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
