"""A bank of simulations: crops of HR images, degraded with known parameters, and their traits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paragonsr.calibration.kinds import Kind, Span, Spans, built, kinds, pipeline
from paragonsr.calibration.traits import SIDE, measure
from paragonsr.degradation.base import Image
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.pipeline import Pipeline

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

TILTS = (0.35, 1.0, 2.0)
"""Factors of the odds that a kind occurs; each simulation draws one, so that many have few kinds and some have most."""


@dataclass(frozen=True)
class Bank:
    """Simulations.

    Attributes:
        present: N x kinds.
        values: N x kinds, the parameters; neutral where a kind does not occur.
        flags: name -> N, False where the kind does not occur.
        traits: N x traits.
    """

    present: Bools
    values: Floats
    flags: dict[str, Bools]
    traits: Floats


def pooled(banks: Sequence[Bank]) -> Bank:
    """All simulations of several banks."""
    return Bank(
        np.concatenate([bank.present for bank in banks]),
        np.concatenate([bank.values for bank in banks]),
        {name: np.concatenate([bank.flags[name] for bank in banks]) for name in banks[0].flags},
        np.concatenate([bank.traits for bank in banks]),
    )


def flag_name(kind: Kind, flag: str) -> str:
    """Name of a flag among those of all kinds."""
    return f"{kind.name}: {flag}"


def simulate(
    hr: Sequence[Image],
    spans: Spans,
    scale: int,
    count: int,
    seed: int,
    progress: Callable[[int, int], None],
    tilts: Sequence[float] = TILTS,
) -> Bank:
    """Degrade crops and measure them.

    Args:
        hr: crops of scale SIDE x scale SIDE pixels.
        spans: distribution to draw from, with all kinds.
        scale: HR side / LR side.
        count: number of simulations; crop n modulo the number of crops is used.
        seed: determines everything.
        progress: called with the number of simulations done and their total.
        tilts: factors of the odds.
    """
    all_kinds = kinds(scale)
    present = np.zeros((count, len(all_kinds)), bool)
    values = np.tile([kind.neutral for kind in all_kinds], (count, 1)).astype(np.float64)
    flags = {flag_name(kind, flag): np.zeros(count, bool) for kind in all_kinds for flag in kind.flags}
    traits = []
    for number in range(count):
        draws = Draws(seed, number)
        tilt = tilts[int(draws.uniform() * len(tilts))]
        chosen: dict[str, Span] = {}
        for column, kind in enumerate(all_kinds):
            span, own = spans[kind.name], draws.child(column)
            if not own.coin(tilted(span.share, tilt)):
                continue
            value = round(own.uniform(span.low, span.high), kind.digits)
            present[number, column], values[number, column] = True, value
            drawn = {flag: own.coin(span.flags.get(flag, 0.5)) for flag in kind.flags}
            for flag, coin in drawn.items():
                flags[flag_name(kind, flag)][number] = coin
            chosen[kind.name] = Span(1.0, value, value, {flag: float(coin) for flag, coin in drawn.items()})
        steps = [built(written).build() for written in pipeline(chosen, scale)]
        lq = Pipeline(steps, scale, seed).degrade(hr[number % len(hr)], number)
        assert lq.shape[0] == SIDE
        traits.append(measure(lq))
        progress(number + 1, count)
    return Bank(present, values, flags, np.array(traits))


def tilted(share: float, tilt: float) -> float:
    """Share whose odds are multiplied by a factor."""
    odds = share * tilt
    return odds / (1 - share + odds) if odds else 0.0
