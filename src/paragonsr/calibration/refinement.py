"""The distribution that the pipeline can have, fitted by importance weights of the simulations."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from paragonsr.calibration.kinds import Kind, Span, Spans, kinds
from paragonsr.calibration.matching import Matching
from paragonsr.calibration.simulation import TILTS, Bank, flag_name, tilted

Floats = NDArray[np.float64]

_MOST_MOVES = 60
"""Most moves of one size."""
_LEAST = 1e-5
"""By how much a move must bring down the distance."""
_STEPS = (0.3, 0.12, 0.05)
"""Steps of shares, and of the ends of ranges relative to the width that was simulated."""
_MIXED = 0.004
"""By how much a share between 0 and 1 must bring down the distance."""
_CONCENTRATED = 1.2
"""What the sum of squared weights costs: distributions that rest on few simulations are judged by luck."""
_FEWEST = 40.0
"""Effective number of simulations, 1 / sum of squared weights, below which a distribution is not considered."""


def refined(
    matching: Matching,
    drawn: Sequence[tuple[Spans, int]],
    start: Spans,
    scale: int,
    worth: float,
    keep: Container[str] = (),
) -> dict[str, Span]:
    """Shares, uniform ranges and frequencies of flags with the least distance to the folder.

    `Matching.weights` gives each simulation a weight of its own, and stays near the distribution that was drawn from,
    so that ranges come out wide. Here the weights are those of a distribution that the pipeline can have, with
    independent kinds and uniform parameters: its density over that of the simulations (importance sampling). The
    distance is minimised by the best of all single moves, until none helps, in three sizes. Kinds
    that others look like are left out in a second search.

    Args:
        matching: simulations and folder.
        drawn: distributions that the simulations were drawn from, each with their number.
        start: where the search begins.
        scale: HR side / LR side.
        worth: by how much a kind must bring down the distance.
        keep: names of kinds that are known.
    """
    bank, searched = matching.bank, [kind for kind in kinds(scale) if kind.name not in keep]
    columns = {kind.name: column for column, kind in enumerate(kinds(scale))}
    proposal = sum(
        count * np.prod([_density(bank, columns[k.name], k, _odds(spans[k.name], tilt)) for k in searched], axis=0)
        for spans, count in drawn
        for tilt in TILTS
    )
    widest = {k.name: _around([spans[k.name] for spans, _ in drawn]) for k in searched}

    def cost(factors: dict[str, Floats], spans: Spans) -> float:
        weights = np.prod(list(factors.values()), axis=0) / proposal
        total = weights.sum()
        weights = weights / total if total > 0 else weights
        concentration = float(weights @ weights)
        if not 0 < concentration < 1 / _FEWEST:
            return np.inf
        price = sum(_price(spans[kind.name], kind, worth) for kind in searched)
        return matching.expected_distance(weights) + _CONCENTRATED * concentration + price

    def search(spans: dict[str, Span], free: Sequence[Kind]) -> tuple[float, dict[str, Span]]:
        factors = {kind.name: _density(bank, columns[kind.name], kind, spans[kind.name]) for kind in searched}
        best = cost(factors, spans)
        for step in _STEPS:
            for _ in range(_MOST_MOVES):
                found = None
                for kind in free:
                    for tried in _moves(kind, spans[kind.name], widest[kind.name], step):
                        changed = factors | {kind.name: _density(bank, columns[kind.name], kind, tried)}
                        value = cost(changed, spans | {kind.name: tried})
                        if value < best - _LEAST:
                            best, found = value, (changed, spans | {kind.name: tried})
                if found is None:
                    break
                factors, spans = found
        return best, spans

    best, spans = search(dict(start), searched)
    for doubtful in (kind for kind in searched if kind.doubt > 1 and spans[kind.name].share):
        others = [kind for kind in searched if kind is not doubtful]
        absent = {k.name: replace(widest[k.name], share=_STEPS[0]) for k in others if not spans[k.name].share}
        tried = spans | absent | {doubtful.name: replace(spans[doubtful.name], share=0.0)}
        value, without = search(tried, others)
        if value < best:
            best, spans = value, without
    return spans


def _price(span: Span, kind: Kind, worth: float) -> float:
    """What a kind costs."""
    return kind.doubt * worth * (span.share > 0) + _MIXED * (0 < span.share < 1)


def _density(bank: Bank, column: int, kind: Kind, span: Span) -> Floats:
    """Density of each simulation's parameters of a kind, relative to any constant."""
    present, values = bank.present[:, column], bank.values[:, column]
    found = np.full(len(values), float(span.share))
    if kind.parameter:
        half = 0.5 * 10.0**-kind.digits
        inside = (values >= span.low - half - 1e-9) & (values <= span.high + half + 1e-9)
        found *= inside / (span.high - span.low + 2 * half)
    for flag in kind.flags:
        share = span.flags[flag]
        found *= np.where(bank.flags[flag_name(kind, flag)], share, 1 - share)
    return np.where(present, found, 1 - span.share)


def _around(spans: Sequence[Span]) -> Span:
    """The last one, with the range of all."""
    return replace(spans[-1], low=min(span.low for span in spans), high=max(span.high for span in spans))


def _odds(span: Span, tilt: float) -> Span:
    """With the share's odds multiplied by a factor."""
    return replace(span, share=tilted(span.share, tilt))


def _moves(kind: Kind, span: Span, drawn: Span, step: float) -> Iterator[Span]:
    """Distributions near one of a kind, inside what was drawn from."""
    if span.share > 0:
        for share in (0.0, 1.0, span.share - step, span.share + step):
            yield replace(span, share=float(np.clip(share, 0, 1)))
    else:
        yield replace(drawn, share=step, flags=span.flags)
        yield replace(drawn, share=1.0, flags=span.flags)
        return
    if kind.parameter:
        wide, least = step * (drawn.high - drawn.low), 10.0**-kind.digits
        for low, high in ((-wide, 0), (wide, 0), (0, -wide), (0, wide), (-wide, -wide), (wide, wide), (wide, -wide)):
            moved = max(span.low + low, drawn.low), min(span.high + high, drawn.high)
            if moved[1] - moved[0] >= least:
                yield replace(span, low=moved[0], high=moved[1])
                yield replace(span, low=moved[0], high=moved[1], share=1.0)
    for flag in kind.flags:
        for share in (0.0, 1.0, span.flags[flag] - step, span.flags[flag] + step):
            yield replace(span, flags={**span.flags, flag: float(np.clip(share, 0, 1))})
