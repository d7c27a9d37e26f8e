"""Each loss keeps its share of the pull on the SR image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from paragonsr.automation.calibration import calibrated
from paragonsr.automation.options import LossBalanceOptions
from paragonsr.automation.protocol import Decision, Facts, Observation, Steps
from paragonsr.errors import UserError

STATISTICS = "training images"
"""Kind of the facts that the calibration wants."""
HAND_OVERS = 2
"""Windows running that must show a share off its target: one alone may be noise."""
SHARE_FLOOR = 0.5
"""`share_floor` where neither the user nor the calibration has set it."""
SMALLEST = 1e-3
"""Relative change of a weight that is worth a decision."""


@dataclass
class _State:
    """All logarithms are natural. Labels: of losses that have been measured."""

    norms: dict[str, float] = field(default_factory=dict)
    """Smoothed logarithm of each gradient's norm."""
    measured: dict[str, int] = field(default_factory=dict)
    """Steps that each was measured in."""
    reference: dict[str, float] = field(default_factory=dict)
    """Mean logarithm of each norm over its baseline."""
    scales: dict[str, float] = field(default_factory=dict)
    """Logarithm of what each configured weight is to be multiplied by for the target shares; 0 where none are given."""
    logs: dict[str, float] = field(default_factory=dict)
    """Logarithm of each multiplier."""
    decided: dict[str, float] = field(default_factory=dict)
    """Each multiplier as it was last decided."""
    off: int = 0
    """Hand-overs since a share was seen off its target; 0 while all are on it."""
    broken: list[str] = field(default_factory=list)
    """Losses that were not finite."""
    named: list[str] = field(default_factory=list)
    """Those of them that a decision has named."""
    facts: dict[str, float] | None = None
    """Statistics of the training images."""


class LossBalance:
    """Steers the weights so that each loss has its target share of the pull.

    The pull of loss i is w_i |g_i| with g_i = dL_i/dSR; its share is that over the sum. Its target is a curve: the share
    that it has under the configured weights (ramps included), which falls by itself where the gradient falls with the
    error, as that of MS-SSIM does while L1's keeps its norm; but

    - not below `share_floor` times what the same weights gave with the norms of the baseline,
    - with all losses but the largest, the anchor, fading linearly to `late_share` of it at the end of the plan,
    - and beginning with `target_shares` where they are given.

    Norms are averaged as logarithms: single batches have a gradient of MS-SSIM twenty times the usual one. They are
    smoothed over steps with `momentum`, and their mean over a window counts. A share that is off its target by more
    than `adaptation_threshold` (relative) in two windows running calls for adaptations, one per step: the multiplier
    moves towards the target by at most `adaptation_rate` (in its logarithm), until it is there. The anchor keeps its
    weight, so that the pull as a whole stays. After GradNorm (1711.02257), with norms at the output instead of the last
    shared layer, and nothing to train.

    Args:
        options: constants, bounds, targets.
        labels: names of the losses.
        total: iterations of the plan.
        parameters: of the network, for the calibration.

    Raises:
        UserError: the target shares name no loss, or leave nothing for the others.
    """

    name = "dynamic_loss_scheduling"
    watches = "the norm of each loss' gradient at the SR image"
    may_change = "loss_weight/<label>"

    def __init__(self, options: LossBalanceOptions, labels: Sequence[str], total: int, parameters: int) -> None:
        self.options = self._written = options
        self.labels, self._total, self._parameters = list(labels), total, parameters
        self.state = _State()
        _require_sensible(options.target_shares, self.labels)

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Measure a window of steps, and adapt once for each of its steps; take in the statistics of the images."""
        if isinstance(observation, Facts) and observation.kind == STATISTICS:
            self._calibrate(dict(observation.figures))
        if not isinstance(observation, Steps):
            return ()
        norms = self._measure(observation)
        weights = self._weights(observation)
        active = [label for label in self.labels if label in norms and weights[label] > 0 and self._known(label)]
        if len(active) < 2:
            return ()
        pulls = {label: math.log(weights[label]) + norms[label] for label in active}
        before = {label: math.log(weights[label]) + self.state.reference[label] for label in active}
        if not set(active) <= set(self.state.scales):
            self.state.scales = self._scales(before)
        anchor = max(active, key=before.__getitem__)
        position = float(observation.figures["position"][-1]) + 1
        targets = self._targets(pulls, before, anchor, min(position / self._total, 1.0))
        return self._adapt(pulls, targets, anchor, len(observation.figures["position"]), norms)

    def _calibrate(self, figures: dict[str, float]) -> None:
        self.state.facts = figures
        if self._written.auto_calibrate:
            self.options = calibrated(self._written, figures, self._parameters)

    def _measure(self, window: Steps) -> dict[str, float]:
        """Mean over the window of the smoothed logarithms, of the losses that have a gradient in it."""
        state, momentum = self.state, self.options.momentum
        means = {}
        for label in self.labels:
            norms, weighted = window.figures[f"loss_grad/{label}"], window.figures[f"loss_weight/{label}"] > 0
            if label not in state.broken and not np.isfinite(norms[weighted]).all():
                state.broken.append(label)
            smoothed = []
            for value in np.log(norms[weighted & np.isfinite(norms) & (norms > 0)]).tolist():
                state.norms[label] = momentum * state.norms.get(label, value) + (1 - momentum) * value
                smoothed.append(state.norms[label])
                count = state.measured[label] = state.measured.get(label, 0) + 1
                if count <= max(self.options.baseline_iterations, 1):
                    mean = state.reference.get(label, 0.0)
                    state.reference[label] = mean + (value - mean) / count
            if smoothed:
                means[label] = math.fsum(smoothed) / len(smoothed)
        return means

    def _weights(self, window: Steps) -> dict[str, float]:
        """Of the configuration, ramps included: without the multiplier, which a dry run has not put into force."""
        now = {label: float(window.figures[f"loss_weight/{label}"][-1]) for label in self.labels}
        return now if self.options.dry_run else {k: w / self.state.decided.get(k, 1.0) for k, w in now.items()}

    def _known(self, label: str) -> bool:
        return self.state.measured[label] >= self.options.baseline_iterations

    def _scales(self, before: dict[str, float]) -> dict[str, float]:
        given = {label: share for label, share in self.options.target_shares.items() if label in before}
        if not given:
            return dict.fromkeys(before, 0.0)
        shares = _shares(before)
        others = math.fsum(share for label, share in shares.items() if label not in given)
        left = 1 - math.fsum(given.values())
        return {label: math.log(given[label] / share if label in given else left / others) for label, share in shares.items()}

    def _targets(
        self, pulls: dict[str, float], before: dict[str, float], anchor: str, progress: float
    ) -> dict[str, float]:
        """The share that each loss should have now."""
        scales = self.state.scales
        now = _shares({label: pull + scales[label] for label, pull in pulls.items()})
        then = _shares({label: pull + scales[label] for label, pull in before.items()})
        floor = SHARE_FLOOR if self.options.share_floor is None else self.options.share_floor
        late = 1.0 if self.options.late_share is None else self.options.late_share
        fade = 1 + (late - 1) * progress
        wanted = {
            label: max(now[label], floor * then[label]) * (1.0 if label == anchor else fade) for label in pulls
        }
        whole = math.fsum(wanted.values())
        return {label: share / whole for label, share in wanted.items()}

    def _adapt(
        self, pulls: dict[str, float], targets: dict[str, float], anchor: str, steps: int, norms: Mapping[str, float]
    ) -> list[Decision]:
        state, options = self.state, self.options
        logs = {label: state.logs.get(label, 0.0) for label in pulls}
        shares = _shares({label: pull + logs[label] for label, pull in pulls.items()})
        on_target = all(abs(shares[k] / targets[k] - 1) <= options.adaptation_threshold for k in pulls)
        if on_target and state.off < HAND_OVERS:
            state.off = 0
            return []
        state.off += 1
        if state.off < HAND_OVERS:
            return []
        low, high = math.log(options.min_weight), math.log(options.max_weight)
        reach, arrived = options.adaptation_rate * steps, True
        for label in pulls:
            if label == anchor:
                continue
            wanted = math.log(max(targets[label], 1e-12) / targets[anchor]) + pulls[anchor] + logs[anchor] - pulls[label]
            wanted = min(max(wanted, low), high)
            state.logs[label] = logs[label] + min(max(wanted - logs[label], -reach), reach)
            arrived &= abs(wanted - logs[label]) <= reach
        if arrived:
            state.off = 0
        worth = SMALLEST if arrived else max(options.adaptation_threshold / 4, SMALLEST)
        return [
            self._decision(label, {"share": shares[label], "target": targets[label], "norm": math.exp(norms[label])})
            for label in pulls
            if abs(state.logs.get(label, 0.0) - math.log(state.decided.get(label, 1.0))) >= worth
        ]

    def _decision(self, label: str, figures: dict[str, float]) -> Decision:
        state = self.state
        state.decided[label] = math.exp(state.logs[label])
        reason = f"its share of the pull is {figures['share']:.1%}, the target {figures['target']:.1%}"
        broken = [other for other in state.broken if other not in state.named]
        if broken:
            reason += f"; {', '.join(broken)} was not finite, and such steps are left out"
            state.named += broken
        return Decision(self.name, f"loss_weight/{label}", state.decided[label], reason, figures)

    def state_dict(self) -> dict[str, Any]:
        """Norms, baselines, multipliers, and the statistics that it was calibrated with."""
        return asdict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        # Through a copy: the caller's state must not change with ours.
        self.state = _State(**{k: type(v)(v) if isinstance(v, dict | list) else v for k, v in state.items()})
        if self.state.facts is not None:
            self._calibrate(self.state.facts)


def _shares(pulls: Mapping[str, float]) -> dict[str, float]:
    """From logarithms of pulls."""
    largest = max(pulls.values())
    scaled = {label: math.exp(pull - largest) for label, pull in pulls.items()}
    whole = math.fsum(scaled.values())
    return {label: pull / whole for label, pull in scaled.items()}


def _require_sensible(given: Mapping[str, float], labels: Sequence[str]) -> None:
    where = "train.dynamic_loss_scheduling.target_shares"
    strangers = sorted(set(given) - set(labels))
    if strangers:
        raise UserError(f"there is no loss {', '.join(strangers)}", where=where, fix=f"losses: {', '.join(labels)}")
    left = 1 - math.fsum(given.values())
    if given and (left < 1e-6) != (set(given) == set(labels)):
        raise UserError(
            f"the shares add up to {1 - left:g}",
            where=where,
            fix="give all losses shares that add up to 1, or some of them less than 1",
        )
