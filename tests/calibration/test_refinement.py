"""The search for a pipeline's distribution, on traits that are the parameters themselves."""

from collections.abc import Mapping

import numpy as np
import pytest

from paragonsr.calibration.kinds import Span, kinds
from paragonsr.calibration.matching import Matching
from paragonsr.calibration.refinement import refined
from paragonsr.calibration.simulation import TILTS, Bank, flag_name, pooled, tilted

SCALE = 2
WIDE = {kind.name: Span(0.35, kind.low, kind.high, dict.fromkeys(kind.flags, 0.5)) for kind in kinds(SCALE)}
NEAR = {name: Span(0.06, span.low, span.high, span.flags) for name, span in WIDE.items()} | {
    "noise": Span(0.8, 3.0, 13.0, {"gray": 0.9, "poisson": 0.2}),
    "blur": Span(0.7, 0.7, 2.3),
}
ABSENT = {name: Span(0.0, span.low, span.high, span.flags) for name, span in WIDE.items()}


def bank(spans: Mapping[str, Span], count: int, seed: int, tilts: tuple[float, ...] = TILTS) -> Bank:
    """Parameters drawn as `simulate` does, with traits that tell them almost exactly."""
    random = np.random.default_rng(seed)
    tilt = random.choice(tilts, count)
    shares = np.array([[tilted(spans[kind.name].share, t) for kind in kinds(SCALE)] for t in tilt])
    present = random.uniform(size=shares.shape) < shares
    drawn = np.stack([random.uniform(spans[k.name].low, spans[k.name].high, count) for k in kinds(SCALE)], axis=1)
    neutral = np.array([kind.neutral for kind in kinds(SCALE)])
    flags = {
        flag_name(kind, flag): present[:, column] & (random.uniform(size=count) < spans[kind.name].flags[flag])
        for column, kind in enumerate(kinds(SCALE))
        for flag in kind.flags
    }
    values = np.where(present, drawn, neutral)
    size = np.array([kind.high - kind.low for kind in kinds(SCALE)])
    traits = np.concatenate([(values - neutral) / size, present, np.stack(list(flags.values()), axis=1)], axis=1)
    return Bank(present, values, flags, traits + random.normal(0, 0.02, traits.shape))


def test_share_range_and_flags_are_found_and_nothing_else() -> None:
    truth = ABSENT | {"noise": Span(1.0, 5.0, 11.0, {"gray": 1.0, "poisson": 0.0}), "blur": Span(0.6, 1.0, 2.0)}
    simulated = pooled([bank(WIDE, 500, 1), bank(NEAR, 1000, 2)])
    matching = Matching(simulated, bank(truth, 160, 3, (1.0,)).traits, SCALE)
    found = refined(matching, [(WIDE, 500), (NEAR, 1000)], NEAR, SCALE, 0.006)
    assert {name for name, span in found.items() if span.share} == {"noise", "blur"}
    noise, blur = found["noise"], found["blur"]
    assert noise.share == 1
    assert noise.low == pytest.approx(5, abs=1.5)
    assert noise.high == pytest.approx(11, abs=1.5)
    assert noise.flags["gray"] > 0.9
    assert noise.flags["poisson"] < 0.1
    assert blur.share == pytest.approx(0.6, abs=0.12)
    assert blur.low == pytest.approx(1, abs=0.5)
    assert blur.high == pytest.approx(2, abs=0.3)


def test_what_is_known_is_kept() -> None:
    known = {"jpeg": Span(1.0, 40.0, 60.0, {"444": 1.0, "shifted": 0.0})}
    drawn = WIDE | known
    matching = Matching(bank(drawn, 400, 1), bank(ABSENT | known, 80, 2, (1.0,)).traits, SCALE)
    found = refined(matching, [(drawn, 400)], drawn, SCALE, 0.006, keep=known)
    assert {name for name, span in found.items() if span.share} == {"jpeg"}
    assert found["jpeg"] == known["jpeg"]


def test_too_few_simulations_change_nothing() -> None:
    matching = Matching(bank(WIDE, 20, 1), bank(ABSENT, 80, 2).traits, SCALE)
    assert refined(matching, [(WIDE, 20)], WIDE, SCALE, 0.006) == WIDE
