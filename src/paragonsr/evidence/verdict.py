"""Verdicts in words: what a comparison or a run has shown."""

from paragonsr.evidence.results import Results, TrainResult
from paragonsr.evidence.runs import Run
from paragonsr.evidence.statistics import FEWEST, Difference


def digits_of(protocol: str) -> int:
    """Number of digits to show of a value: dB are large, all others mostly below 1."""
    return 3 if protocol.startswith("psnr") else 4


def unit_of(protocol: str) -> str:
    """Unit of a metric, with a space before it; empty if it has none."""
    return " dB" if protocol.startswith("psnr") else ""


def direction(better: str) -> str:
    """Addition to the name of a metric where lower values are better; empty for the others."""
    return ", lower is better" if better == "lower" else ""


def comparison_verdicts(found: Results) -> list[str]:
    """One sentence for each arm but the first, on the deciding metric; arms with several have one on each."""
    if not found.outcomes:
        return ["The arms have no metric in common."]
    return [
        _compared(outcome, found)
        for deciding in found.deciding
        for outcome in found.outcomes
        if (outcome.set_name, outcome.metric) == deciding and outcome.arm != found.arms[0]
    ]


def _compared(outcome: TrainResult, found: Results) -> str:
    first, protocol = found.arms[0], found.protocols[outcome.metric]
    where, seeds = f"{outcome.metric} on {outcome.set_name}", seeds_in_words(found.seeds)
    if outcome.difference is None:
        return f"{outcome.arm} cannot be compared with {first}: a value of {where} is not finite."
    d, digits, unit = outcome.difference, digits_of(protocol), unit_of(protocol)
    size = f"{abs(d.mean):.{digits}f}{unit}"
    gained = d.mean > 0 if outcome.better == "higher" else d.mean < 0
    if d.low is None or d.high is None:
        more = "better" if gained else "worse"
        return f"{outcome.arm} ended {size} {more} than {first} ({where}); too few seeds for a verdict ({found.seeds})."
    around = f"[{_signed(d.low, digits)}, {_signed(d.high, digits)}]"
    if d.low <= 0 <= d.high:
        return (
            f"No difference between {outcome.arm} and {first} is shown: {_signed(d.mean, digits)}{unit}, {around} "
            f"({where}; {seeds}{_detectable(d, digits, unit)})."
        )
    return f"{outcome.arm} is {'better' if gained else 'worse'} than {first} by {size}, {around} ({where}; {seeds})."


def _detectable(d: Difference, digits: int, unit: str) -> str:
    return "" if d.detectable is None else f", which would find {d.detectable:.{digits}f}{unit} in four of five cases"


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}"


def seeds_in_words(count: int) -> str:
    """Number of seeds, as text."""
    return f"{count} seed{'s' * (count != 1)}"


def few_seeds(found: Results) -> list[str]:
    """A sentence if there are too few seeds for intervals."""
    if found.seeds >= FEWEST:
        return []
    return [f"no interval with {seeds_in_words(found.seeds)}: repeat with --seeds {FEWEST} or more"]


def run_verdict(run: Run) -> str:
    """What a run has reached so far on its deciding metric, beside the bicubic resize; empty before a validation."""
    best = run.best
    if best is None:
        return ""
    validation = next(v for v in run.validations if v.iteration == best.iteration)
    measured, name = validation.deciding(best.metric), next(iter(validation.metrics))
    digits, unit = digits_of(measured.protocol), unit_of(measured.protocol)
    said = f"Best on {name}: {best.metric} {best.value:.{digits}f}{unit} at iteration {best.iteration:,}"
    if measured.bicubic is None:
        return said + "."
    gain = best.value - measured.bicubic
    better = gain > 0 if measured.better == "higher" else gain < 0
    words = "better" if better else "worse"
    return f"{said}, {abs(gain):.{digits}f}{unit} {words} than bicubic ({measured.bicubic:.{digits}f}{unit})."
