"""Weights of simulations under which their estimated parameters are distributed like those of the folder."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from paragonsr.calibration.distance import distances
from paragonsr.calibration.kinds import Kind, Span, kinds
from paragonsr.calibration.regression import fit_estimator
from paragonsr.calibration.simulation import Bank, flag_name

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ITERATIONS = 200
_RATE = 4.0
"""Step of the weights' logarithms, relative to the largest gradient."""
_EDGE = 0.1
"""Quantile of a parameter that stands for the lower end of its range, which lies an eighth of the middle 80%
further."""
_FEWEST = 25
"""Simulations without which nothing is said about what is left."""


class Matching:
    """Compares a folder with weighted simulations.

    The traits of both are mapped to estimates of the parameters, by a regression on the simulations: that leaves what
    tells about degradations, and drops most of what tells about the pictures (semi-automatic approximate Bayesian
    computation, Fearnhead and Prangle 2012). Each estimate counts by how reliable it is. The weights minimise the
    energy distance between both sets of estimates, a convex problem, by exponentiated gradients (Kivinen and Warmuth
    1997).

    Args:
        bank: the simulations.
        traits: M x traits of the folder's crops.
        scale: HR side / LR side.
    """

    def __init__(self, bank: Bank, traits: Floats, scale: int) -> None:
        self.bank, self.kinds = bank, kinds(scale)
        estimator = fit_estimator(bank.traits, _targets(bank))
        size = np.sqrt(np.clip(estimator.explained, 0, None)) / (estimator.left_out.std(axis=0) + 1e-9)
        simulated, folder = estimator.left_out * size, estimator(traits) * size
        self.across, self.within = distances(simulated, folder).mean(axis=1), distances(simulated, simulated)
        count = len(folder)
        self.folder = float(distances(folder, folder).sum() / (count * (count - 1)))

    def distance(self, weights: Floats) -> float:
        """Energy distance between the folder's estimates and those of weighted simulations.

        The distance of a simulation from itself counts, so that weights which rest on few simulations are worse.
        """
        return 2 * float(weights @ self.across) - float(weights @ self.within @ weights) - self.folder

    def expected_distance(self, weights: Floats) -> float:
        """The same without the distance of a simulation from itself: no bias where few numbers make the weights."""
        within = float(weights @ self.within @ weights) / (1 - float(weights @ weights))
        return 2 * float(weights @ self.across) - within - self.folder

    def weights(self, without: Iterable[str] = ()) -> Floats | None:
        """Weights of the simulations that do not have some kinds; None if these are too few."""
        names = [kind.name for kind in self.kinds]
        excluded = self.bank.present[:, [names.index(name) for name in without]]
        left = excluded.sum(axis=1) == 0
        if left.sum() < _FEWEST:
            return None
        across, within = self.across[left], self.within[np.ix_(left, left)]
        weights = np.full(int(left.sum()), 1 / left.sum())
        for iteration in range(_ITERATIONS):
            gradient = 2 * across - 2 * within @ weights
            gradient -= weights @ gradient
            weights *= np.exp(-_RATE / (1 + iteration / 20) * gradient / (np.abs(gradient).max() + 0.05))
            weights /= weights.sum()
        found: Floats = np.zeros(len(left))
        found[left] = weights
        return found

    def simplest(self, worth: float, keep: Container[str] = ()) -> tuple[Floats, float, list[str]]:
        """Weights with as few kinds as possible: a kind that brings the distance down by less than it must is left out,
        the least useful one first.

        Args:
            worth: by how much a kind must bring down the distance.
            keep: names of kinds that are not left out.

        Returns:
            weights, distance, and the names of the kinds that are left out.
        """
        left_out: list[str] = []
        weights = self.weights()
        assert weights is not None
        best = self.distance(weights)
        while True:
            tried: list[tuple[float, str, Floats]] = []
            for kind in self.kinds:
                if kind.name in left_out or kind.name in keep:
                    continue
                found = self.weights([*left_out, kind.name])
                if found is not None:
                    tried.append((self.distance(found) - worth * kind.doubt, kind.name, found))
            if not tried:
                return weights, self.distance(weights), left_out
            distance, name, found = min(tried, key=lambda one: one[0])
            if distance > best:
                return weights, self.distance(weights), left_out
            weights, left_out = found, [*left_out, name]
            best = min(best, self.distance(found))

    def spans(self, weights: Floats) -> dict[str, Span]:
        """Shares, ranges and frequencies of flags of weighted simulations."""
        found = {}
        for column, kind in enumerate(self.kinds):
            here = self.bank.present[:, column] & (weights > 0)
            share = float(weights[here].sum())
            if share <= 1e-6:
                found[kind.name] = Span(0.0, kind.low, kind.high, dict.fromkeys(kind.flags, 0.5))
                continue
            flags = {flag: float(weights[self.bank.flags[flag_name(kind, flag)]].sum()) / share for flag in kind.flags}
            low, high = (_quantile(self.bank.values[here, column], weights[here], q) for q in (_EDGE, 1 - _EDGE))
            margin = (high - low) * _EDGE / (1 - 2 * _EDGE)
            found[kind.name] = Span(share, max(low - margin, kind.low), min(high + margin, kind.high), flags)
        return found


def widened(spans: dict[str, Span], all_kinds: Sequence[Kind], least: float) -> dict[str, Span]:
    """Distribution to simulate next: around what was found, so that the truth is inside.

    Args:
        spans: what was found.
        all_kinds: all kinds; those that were not found keep their whole range.
        least: smallest share of a kind.
    """
    found = {}
    for kind in all_kinds:
        span = spans[kind.name]
        share = float(np.clip(span.share, least, 1 - least))
        flags = {flag: float(np.clip(value, 0.1, 0.9)) for flag, value in span.flags.items()}
        if not span.share:
            found[kind.name] = Span(least, kind.low, kind.high, flags)
            continue
        width = max(0.3 * (span.high - span.low), 0.04 * (kind.high - kind.low))
        found[kind.name] = replace(
            span, share=share, low=max(span.low - width, kind.low), high=min(span.high + width, kind.high), flags=flags
        )
    return found


def _quantile(values: Floats, weights: Floats, share: float) -> float:
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(weights[order])
    return float(np.interp(share, (cumulated - weights[order] / 2) / cumulated[-1], values[order]))


def _targets(bank: Bank) -> Floats:
    """What is estimated: parameters, whether each kind is present, and flags."""
    return np.concatenate([bank.values, bank.present, *[flags[:, None] for flags in bank.flags.values()]], axis=1)
