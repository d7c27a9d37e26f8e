"""Each loss keeps its share of the pull on the SR image."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from paragonsr.automation.calibration import calibrated
from paragonsr.automation.options import LossBalanceOptions
from paragonsr.automation.protocol import Decision, Facts, Observation, Steps

STATISTICS = "training images"
ON_TARGET = 0.5
"""Part of `adaptation_threshold` that a share is brought back to, once it had left."""


class LossBalance:
    """Steers the weights so that each loss has its target share of the pull.

    The pull of loss i is w_i |g_i| with g_i = dL_i/dSR, and its share that over the sum. Shares move during training
    under fixed weights: the gradient of L1 keeps its norm, that of 1 - SSIM falls with the error. Constant shares would
    therefore raise the weight of SSIM several-fold late, where L1 serves PSNR. So the target follows the share under
    the static weights, down to `share_floor` times what it was after `baseline_iterations`; explicit `target_shares`
    are scaled by the same curve.

    The norms are smoothed over steps (`momentum`). One adaptation is made at each hand-over: where a share is off its
    target by more than `adaptation_threshold` (relative), the logarithm of its multiplier moves towards it by at most
    `adaptation_rate`, until it is within half the threshold. The loss with the largest share is the anchor and keeps
    its weight: only ratios matter to Adam. A multiplier is decided anew when it has moved by half the threshold.

    After GradNorm (1711.02257), with norms at the output instead of the last shared layer.

    Args:
        options: constants, bounds, targets.
        labels: names of the losses.
        total: iterations of the plan.
        parameters: of the network, for the calibration.
    """

    name = "dynamic_loss_scheduling"
    watches = "the norm of each loss' gradient at the SR image"
    may_change = "loss_weight/<label>"

    def __init__(self, options: LossBalanceOptions, labels: Sequence[str], total: int, parameters: int) -> None:
        self.options, self.labels = options, list(labels)
        self.total, self._parameters = total, parameters
        self.norms: dict[str, float] = {}
        """Smoothed norm of each loss' gradient."""
        self.weights: dict[str, float] = {}
        """Weight of each loss by the configuration, ramps included."""
        self.baseline: dict[str, float] = {}
        """Shares under the static weights when the baseline ended."""
        self.logs: dict[str, float] = dict.fromkeys(labels, 0.0)
        """Logarithm of each multiplier."""
        self.decided: dict[str, float] = dict.fromkeys(labels, 1.0)
        """Multipliers as they were last decided."""
        self.moving = False
        self.facts: dict[str, float] | None = None

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Adapt once for each window of steps."""
        if isinstance(observation, Facts) and observation.kind == STATISTICS:
            self._calibrate(dict(observation.figures))
            return ()
        if not isinstance(observation, Steps):
            return ()
        self._measure(observation)
        position = float(observation.figures["position"][-1]) + 1
        active = [label for label in self.labels if self.weights.get(label, 0) > 0 and label in self.norms]
        if position < self.options.baseline_iterations or len(active) < 2:
            return ()
        static = _shares({label: self.weights[label] * self.norms[label] for label in active})
        if set(static) - set(self.baseline):
            # The baseline has ended, or a ramp has switched a loss on.
            self.baseline |= {label: share for label, share in static.items() if label not in self.baseline}
        return self._adapt(static)

    def _calibrate(self, figures: dict[str, float]) -> None:
        self.facts = figures
        if self.options.auto_calibrate:
            self.options = calibrated(self.options, figures, self._parameters)

    def _measure(self, window: Steps) -> None:
        momentum = self.options.momentum
        for label in self.labels:
            # What the weight would be without this automation; a refused or dry decision has not changed it.
            in_force = self.decided[label] if self.acts else 1.0
            self.weights[label] = float(window.figures[f"loss_weight/{label}"][-1]) / in_force
            norms = window.figures[f"loss_grad/{label}"]
            for norm in norms[np.isfinite(norms)].tolist():
                self.norms[label] = momentum * self.norms.get(label, norm) + (1 - momentum) * norm

    @property
    def acts(self) -> bool:
        """Whether decisions are carried out."""
        return not self.options.dry_run

    def targets(self, static: dict[str, float]) -> dict[str, float]:
        """The share that each loss should have now, given those under the static weights."""
        floor = self.options.share_floor
        given = self.options.target_shares
        wanted = {}
        for label, share in static.items():
            course = max(share / self.baseline[label], floor)
            wanted[label] = course * given.get(label, self.baseline[label])
        named = {label: share for label, share in wanted.items() if label in given}
        if named and len(named) < len(wanted):
            # The losses without a target share what the others leave, as they would by themselves.
            rest = max(1 - sum(named.values()), 1e-6)
            others = _shares({label: share for label, share in wanted.items() if label not in given})
            return named | {label: rest * share for label, share in others.items()}
        return _shares(wanted)

    def _adapt(self, static: dict[str, float]) -> Sequence[Decision]:
        targets = self.targets(static)
        pulls = {label: static[label] * math.exp(self.logs[label]) for label in static}
        shares = _shares(pulls)
        anchor = max(static, key=static.__getitem__)
        off = max(abs(shares[label] / targets[label] - 1) for label in static)
        threshold = self.options.adaptation_threshold
        self.moving = off > (threshold * ON_TARGET if self.moving else threshold)
        if not self.moving:
            return ()
        low, high = math.log(self.options.min_weight), math.log(self.options.max_weight)
        rate = self.options.adaptation_rate
        decisions: list[Decision] = []
        for label in static:
            if label == anchor:
                continue
            wanted = math.log(targets[label] / targets[anchor]) - math.log(static[label] / static[anchor])
            wanted += self.logs[anchor]
            step = min(max(wanted - self.logs[label], -rate), rate)
            self.logs[label] = min(max(self.logs[label] + step, low), high)
            decisions += self._decide(label, shares[label], targets[label])
        return decisions

    def _decide(self, label: str, share: float, target: float) -> Sequence[Decision]:
        multiplier = math.exp(self.logs[label])
        worth = max(self.options.adaptation_threshold * ON_TARGET, 1e-9)
        if abs(self.logs[label] - math.log(self.decided[label])) < worth:
            return ()
        self.decided[label] = multiplier
        figures = {"share": share, "target": target, "norm": self.norms[label]}
        reason = f"its share of the pull is {share:.1%}, the target {target:.1%}"
        return (Decision(self.name, f"loss_weight/{label}", multiplier, reason, figures),)

    def state_dict(self) -> dict[str, Any]:
        """Smoothed norms, baseline, multipliers, and the statistics that it was calibrated with."""
        return {name: getattr(self, name) for name in "norms weights baseline logs decided moving facts".split()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        for name, value in state.items():
            setattr(self, name, dict(value) if isinstance(value, dict) else value)
        if self.facts is not None:
            self._calibrate(self.facts)


def _shares(pulls: dict[str, float]) -> dict[str, float]:
    total = sum(pulls.values())
    if total <= 0:
        return dict.fromkeys(pulls, 1 / len(pulls))
    return {label: max(pull / total, 1e-12) for label, pull in pulls.items()}
