"""Balance of a discriminator with the SR network: it learns more slowly, or not at all, while it dominates."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from paragonsr.automation.protocol import Decision, Steps

WIDEST_GAP = 4.0
"""Difference of the mean logits of HR and SR images above which a discriminator dominates: there, the sigmoid of their
difference is 0.98, and hinge losses are far beyond their margins."""
NEAR = 0.75
"""Share of both limits below which it no longer dominates."""
SLOWEST = 1 / 16
"""Smallest factor on its learning rate other than 0."""
FEWEST_STEPS = 20
"""Minimum number of steps that a decision is based on."""


class DiscriminatorBalance:
    """Halves the learning rate of a discriminator while it dominates, down to 1/16 and then to 0, which skips its
    updates; doubles it again, up to the configured rate, once it no longer dominates.

    It dominates if its accuracy exceeds `most` or its logit gap WIDEST_GAP: the SR network then learns nothing from it,
    because all it does is told apart.

    Args:
        name: automation that decides.
        label: label of the learned loss.
        most: accuracy above which it dominates, in (0.5, 1].
    """

    def __init__(self, name: str, label: str, most: float) -> None:
        self._name, self._label, self._most = name, label, most
        self.factor = 1.0
        self.sums = [0.0, 0.0]
        """Sums of the accuracy and of the gap over the steps since the last judgement."""
        self.count = 0

    def observe(self, steps: Steps) -> Sequence[Decision]:
        """Judge the discriminator once enough steps were measured."""
        found = [steps.values.get(f"learner/{self._label}/{name}") for name in ("accuracy", "real", "fake")]
        if any(values is None for values in found):
            return ()  # a learned loss that reports something else
        rows = np.array(found)
        rows = rows[:, np.isfinite(rows).all(0)]
        self.sums[0] += float(rows[0].sum())
        self.sums[1] += float((rows[1] - rows[2]).sum())
        self.count += rows.shape[1]
        if self.count < FEWEST_STEPS:
            return ()
        accuracy, gap = (total / self.count for total in self.sums)
        self.sums, self.count = [0.0, 0.0], 0
        return self._judged(accuracy, gap)

    def _judged(self, accuracy: float, gap: float) -> Sequence[Decision]:
        before = self.factor
        # Accuracy above chance, because 0.5 is that of a coin.
        leads = (accuracy - 0.5) / (self._most - 0.5)
        if leads > 1 or gap > WIDEST_GAP:
            self.factor = before / 2 if before > SLOWEST else 0.0
            state = "dominates"
        elif leads < NEAR and gap < NEAR * WIDEST_GAP:
            self.factor = min(2 * before, 1.0) if before else SLOWEST
            state = "no longer dominates"
        if self.factor == before:
            return ()
        effect = f"learns at {self.factor:g} of its rate" if self.factor else "is not updated"
        reason = f"the discriminator {state} (accuracy {accuracy:.2f}, logit gap {gap:.2f}): it {effect}"
        values = {"accuracy": accuracy, "gap": gap}
        return (Decision(self._name, f"learner_lr/{self._label}", self.factor, reason, values),)

    def state_dict(self) -> dict[str, Any]:
        """Factor, and the sums since the last judgement."""
        return {"factor": self.factor, "sums": list(self.sums), "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.factor, self.sums, self.count = state["factor"], list(state["sums"]), state["count"]
