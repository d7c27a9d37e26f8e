"""Loss balancing: keeps each loss at its target share of the gradient with respect to the SR image."""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from paragonsr.automation.calibration import calibrated
from paragonsr.automation.context import RunContext
from paragonsr.automation.options import LossBalanceOptions
from paragonsr.automation.protocol import Decision, Measurements, Observation, Steps
from paragonsr.errors import UserError

STATISTICS = "training images"
"""Kind of the measurements that the calibration uses."""
TIME_CONSTANTS = 10
"""Length of a span in time constants of the smoothing, each 1 / (1 - momentum) steps: 100 steps with a momentum of
0.9."""
SMALLEST = 1e-3
"""Smallest relative change of a weight that makes a decision."""
LEAST = 1e-6
"""Lower bound of a share, because relative distances need a positive share."""


@dataclass
class _State:
    """State of the loss balance. Logarithms are natural; keys are labels of losses that have been measured."""

    norms: dict[str, float] = field(default_factory=dict)
    """Smoothed logarithm of each gradient's norm."""
    measured: dict[str, int] = field(default_factory=dict)
    """Number of steps in which each loss was measured."""
    span: int = 0
    """Number of steps of the current span."""
    sums: dict[str, float] = field(default_factory=dict)
    """Sum of each smoothed logarithm over the current span."""
    counts: dict[str, int] = field(default_factory=dict)
    """Number of steps of the current span in which each loss was measured."""
    reference: dict[str, float] = field(default_factory=dict)
    """Mean of each smoothed logarithm over the first span after its baseline."""
    scales: dict[str, float] = field(default_factory=dict)
    """Logarithm of the factor that takes each configured weight to its target share; 0 without target shares."""
    logs: dict[str, float] = field(default_factory=dict)
    """Logarithm of each multiplier."""
    decided: dict[str, float] = field(default_factory=dict)
    """Each multiplier as last decided."""
    off: int = 0
    """Number of spans since a share left its target; reset when it is back."""
    broken: list[str] = field(default_factory=list)
    """Losses that were not finite."""
    named: list[str] = field(default_factory=list)
    """Losses of `broken` that a decision has already named."""
    facts: dict[str, float] | None = None
    """Statistics of the training images."""


class LossBalance:
    """Adjusts the weights so that each loss has its target share of the gradient.

    The gradient of loss i is w_i |g_i| with g_i = dL_i/dSR; its share is this value divided by the sum over all losses.
    Its target is a curve: the share under the configured weights (ramps included), which falls by itself if the
    gradient shrinks with the error, as that of MS-SSIM does while L1's norm stays constant; but

    - not below `share_floor` times the share that the same weights gave with the norms of the baseline,
    - with all losses but the largest (the anchor) fading linearly to `late_share` of that at the end of the plan,
    - and starting from `target_shares`, if given.

    Norms are averaged as logarithms, since single batches have an MS-SSIM gradient of twenty times the usual size.
    They are smoothed over steps with `momentum`, and then averaged over spans of ten time constants. The first
    `baseline_iterations` steps of a loss are ignored; the span after them is its baseline. If a share is off its target
    by more than `adaptation_threshold` (relative) in two consecutive spans, its weight is adapted once per step: the
    multiplier moves towards the target by at most `adaptation_rate` (in its logarithm) until it is reached. The anchor
    keeps its weight, so that the sum of the gradients keeps its size. Follows GradNorm (1711.02257), but with norms at
    the output instead of the last shared layer, and without trained parameters.

    Args:
        options: constants, bounds, targets.
        labels: names of the losses.
        total: iterations of the plan.
        parameters: parameter count of the network, for the calibration.

    Raises:
        UserError: the target shares name an unknown loss, or leave nothing for the others.
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
        """Process a window of steps, and judge the shares when a span is full; process the images' statistics."""
        if isinstance(observation, Measurements) and observation.kind == STATISTICS:
            self._calibrate(dict(observation.values))
        if not isinstance(observation, Steps):
            return ()
        self._measure(observation)
        steps = self.state.span
        if steps * (1 - self.options.momentum) < TIME_CONSTANTS - 1e-9:
            return ()
        norms = self._end_span()
        weights = self._weights(observation)
        active = [label for label in norms if weights[label] > 0 and label in self.state.reference]
        position = float(observation.values["position"][-1]) + 1
        if len(active) < 2 or position >= self._total:
            return ()
        gradients = {label: math.log(weights[label]) + norms[label] for label in active}
        before = {label: math.log(weights[label]) + self.state.reference[label] for label in active}
        if not set(active) <= set(self.state.scales):
            self.state.scales = self._scales(before)
        anchor = max(active, key=before.__getitem__)
        targets = self._targets(gradients, before, anchor, position / self._total)
        return self._adapt(gradients, targets, anchor, steps)

    def _calibrate(self, values: dict[str, float]) -> None:
        self.state.facts = values
        if self._written.auto_calibrate:
            self.options = calibrated(self._written, values, self._parameters)

    def _measure(self, window: Steps) -> None:
        state, momentum = self.state, self.options.momentum
        state.span += len(window.values["position"])
        for label in self.labels:
            norms, weighted = window.values[f"loss_grad/{label}"], window.values[f"loss_weight/{label}"] > 0
            if label not in state.broken and not np.isfinite(norms[weighted]).all():
                state.broken.append(label)
            for value in np.log(norms[weighted & np.isfinite(norms) & (norms > 0)]).tolist():
                state.norms[label] = momentum * state.norms.get(label, value) + (1 - momentum) * value
                state.sums[label] = state.sums.get(label, 0.0) + state.norms[label]
                state.counts[label] = state.counts.get(label, 0) + 1

    def _end_span(self) -> dict[str, float]:
        """Mean of the smoothed logarithms over the span, for the losses that had a gradient in it."""
        state = self.state
        means = {label: state.sums[label] / count for label, count in state.counts.items()}
        for label, mean in means.items():
            passed = state.measured.get(label, 0)
            state.measured[label] = passed + state.counts[label]
            if passed >= self.options.baseline_iterations:
                state.reference.setdefault(label, mean)
        state.span, state.sums, state.counts = 0, {}, {}
        return means

    def _weights(self, window: Steps) -> dict[str, float]:
        """Configured weights, ramps included, without the multiplier, which a dry run has not applied."""
        now = {label: float(window.values[f"loss_weight/{label}"][-1]) for label in self.labels}
        return now if self.options.dry_run else {k: w / self.state.decided.get(k, 1.0) for k, w in now.items()}

    def _scales(self, before: dict[str, float]) -> dict[str, float]:
        given = {label: share for label, share in self.options.target_shares.items() if label in before}
        shares = _shares(before)
        others = math.fsum(share for label, share in shares.items() if label not in given)
        left = 1 - math.fsum(given.values())
        return {k: math.log(given[k] / share if k in given else left / others) for k, share in shares.items()}

    def _targets(
        self, gradients: dict[str, float], before: dict[str, float], anchor: str, progress: float
    ) -> dict[str, float]:
        """Current target share of each loss."""
        scales = self.state.scales
        now = _shares({label: gradient + scales[label] for label, gradient in gradients.items()})
        then = _shares({label: gradient + scales[label] for label, gradient in before.items()})
        late = 1.0 if self.options.late_share is None else self.options.late_share
        fade = 1 + (late - 1) * progress
        held = {label: max(now[label], self.options.share_floor * then[label]) for label in gradients}
        wanted = {label: max(share * fade, LEAST) for label, share in held.items() if label != anchor}
        # The anchor takes what the others leave, and a positive share even if the floors leave nothing.
        wanted[anchor] = max(1 - math.fsum(wanted.values()), self.options.share_floor * then[anchor], LEAST)
        whole = math.fsum(wanted.values())
        return {label: wanted[label] / whole for label in gradients}

    def _adapt(
        self, gradients: dict[str, float], targets: dict[str, float], anchor: str, steps: int
    ) -> Sequence[Decision]:
        state, options = self.state, self.options
        logs = {label: state.logs.get(label, 0.0) for label in gradients}
        shares = _shares({label: gradient + logs[label] for label, gradient in gradients.items()})
        on_target = all(abs(shares[k] / targets[k] - 1) <= options.adaptation_threshold for k in gradients)
        # Being off target in a single span may be noise; once moving, a weight continues until it reaches the target.
        state.off = 0 if on_target and state.off < 2 else state.off + 1
        if state.off < 2:
            return ()
        low, high = math.log(options.min_weight), math.log(options.max_weight)
        reach, arrived = options.adaptation_rate * steps, True
        for label in gradients:
            if label == anchor:
                continue
            ratio = targets[label] / targets[anchor]
            wanted = min(max(math.log(ratio) + gradients[anchor] + logs[anchor] - gradients[label], low), high)
            state.logs[label] = logs[label] + min(max(wanted - logs[label], -reach), reach)
            arrived &= abs(wanted - logs[label]) <= reach
        if arrived:
            state.off = 0
        worth = SMALLEST if arrived else max(options.adaptation_threshold / 4, SMALLEST)
        return [
            self._decision(label, {"share": shares[label], "target": targets[label]})
            for label in gradients
            if abs(state.logs.get(label, 0.0) - math.log(state.decided.get(label, 1.0))) >= worth
        ]

    def _decision(self, label: str, values: dict[str, float]) -> Decision:
        state = self.state
        state.decided[label] = math.exp(state.logs[label])
        reason = f"its share of the gradient is {values['share']:.1%}, the target {values['target']:.1%}"
        broken = [other for other in state.broken if other not in state.named]
        if broken:
            reason += f"; {', '.join(broken)} was not finite, and these steps are ignored"
            state.named += broken
        return Decision(self.name, f"loss_weight/{label}", state.decided[label], reason, values)

    def state_dict(self) -> dict[str, Any]:
        """Norms, baselines, multipliers, and the statistics used for the calibration."""
        return asdict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        # A copy, because the saved state must not change with later measurements.
        self.state = _State(**deepcopy(state))
        if self.state.facts is not None:
            self._calibrate(self.state.facts)


def _shares(gradients: Mapping[str, float]) -> dict[str, float]:
    """Shares from the logarithms of gradients."""
    largest = max(gradients.values())
    scaled = {label: math.exp(gradient - largest) for label, gradient in gradients.items()}
    whole = math.fsum(scaled.values())
    return {label: gradient / whole for label, gradient in scaled.items()}


def _require_sensible(given: Mapping[str, float], labels: Sequence[str]) -> None:
    where = "train.dynamic_loss_scheduling.target_shares"
    strangers = sorted(set(given) - set(labels))
    if strangers:
        raise UserError(f"unknown loss {', '.join(strangers)}", where=where, fix=f"losses: {', '.join(labels)}.")
    left = 1 - math.fsum(given.values())
    if given and (left < 1e-6) != (set(given) == set(labels)):
        raise UserError(
            f"the target shares add up to {1 - left:g}",
            where=where,
            fix="Give shares for all losses that add up to 1, or for some of them that add up to less than 1.",
        )


def build(options: LossBalanceOptions, context: RunContext) -> LossBalance:
    """Build the automation for a run."""
    return LossBalance(options, context.losses, context.total_iter, context.parameters)
