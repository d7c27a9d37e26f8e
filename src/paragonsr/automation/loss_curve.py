"""The training loss as a curve: blocks of equal length, and how surely it still falls."""

from typing import Any

import numpy as np

from paragonsr.automation.protocol import Steps

MOST_BLOCKS = 256
"""An even number."""
FEWEST_BLOCKS = 32
STRONGEST_CORRELATION = 0.95
"""Of neighbouring blocks; beyond it the regression's error would have no bound."""

Losses = dict[str, float]
"""Label -> mean raw value."""


class LossCurve:
    """Mean losses of consecutive blocks of windows, a few hundred of them however long the run is.

    When there are too many blocks, neighbours are joined and blocks become twice as long, so all have one length and
    the same noise. The losses are kept apart and weighed with the present weights when they are compared: a weight
    that an automation or a ramp has changed must not look like progress.
    """

    def __init__(self) -> None:
        self.length = 1
        """Windows of one block."""
        self.blocks: list[tuple[float, Losses]] = []
        """(mean position, losses)."""
        self.open: list[tuple[float, Losses]] = []
        """Windows of the block that is not complete yet."""

    def add(self, position: float, losses: Losses) -> None:
        """Append one window."""
        self.open.append((position, losses))
        if len(self.open) == self.length:
            self.blocks.append(_joined(self.open))
            self.open = []
        if len(self.blocks) == MOST_BLOCKS:
            self.blocks = [_joined(list(pair)) for pair in zip(self.blocks[::2], self.blocks[1::2], strict=True)]
            self.length *= 2

    def trend(self, weights: Losses, least_span: float) -> tuple[float, float] | None:
        """Slope of the logarithm of the weighted loss over the later half of what was seen, and its standard error.

        Args:
            weights: present weight of each loss.
            least_span: positions that the later half must cover.

        Returns:
            both per position; None where there are too few blocks.
        """
        if not self.blocks:
            return None
        middle = (self.blocks[0][0] + self.blocks[-1][0]) / 2
        later = [block for block in self.blocks if block[0] >= middle]
        if len(later) < FEWEST_BLOCKS or later[-1][0] - later[0][0] < least_span:
            return None
        totals = weighted([losses for _, losses in later], weights)
        if totals is None:
            return None
        return slope(np.array([position for position, _ in later]), np.log(totals))

    def state_dict(self) -> dict[str, Any]:
        """Length of the blocks, and the blocks."""
        return {"length": self.length, "blocks": list(map(list, self.blocks)), "open": list(map(list, self.open))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.length = state["length"]
        self.blocks = [(position, losses) for position, losses in state["blocks"]]
        self.open = [(position, losses) for position, losses in state["open"]]


def window_losses(window: Steps) -> tuple[Losses, Losses]:
    """Mean of each loss over the steps where it is finite, and its present weight; losses that never are have neither.

    Returns:
        means and weights by label.
    """
    labels = [name.removeprefix("loss/") for name in window.values if name.startswith("loss/")]
    means, weights = {}, {}
    for label in labels:
        values = window.values[f"loss/{label}"]
        finite = values[np.isfinite(values)]
        if finite.size:
            means[label] = float(finite.mean())
            weights[label] = float(window.values[f"loss_weight/{label}"][-1])
    return means, weights


def weighted(curve: list[Losses], weights: Losses) -> np.ndarray | None:
    """Weighted sum at each point of a curve, over the losses that all points have; None where it is nowhere positive.

    Returns:
        float64, one entry per point.
    """
    labels = [label for label in weights if all(label in losses for losses in curve)]
    totals = np.array([sum(weights[label] * losses[label] for label in labels) for losses in curve], float)
    return totals if len(totals) and (totals > 0).all() else None


def slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of the regression line of equally spaced points, and an honest standard error of it.

    Slow wavering of the noise leaves fewer independent points than there are: the variance is multiplied by
    (1 + r) / (1 - r), with r the correlation of neighbouring residuals, corrected for the bias that fitting a line
    gives it (Kendall 1954: about -(2 + 4 r) / n). The few points left are known to be few: the error is widened as the
    quantiles of Student's t are at three and a half standard errors (their first-order term, (1 + z^2) / 4 per degree
    of freedom).

    Args:
        x: positions, at least three.
        y: values, same length.
    """
    count = len(x)
    centred = x - x.mean()
    spread = float(centred @ centred)
    steepness = float(centred @ y) / spread
    residuals = y - y.mean() - steepness * centred
    power = float(residuals @ residuals)
    if power == 0:
        return steepness, 0.0
    correlation = float(residuals[:-1] @ residuals[1:]) / power
    correlation = min(max(correlation + (2 + 4 * correlation) / count, 0.0), STRONGEST_CORRELATION)
    inflation = (1 + correlation) / (1 - correlation)
    freedom = max(count / inflation - 2, 1.0)
    error = float(np.sqrt(inflation * power / (count - 2) / spread))
    return steepness, error * (1 + 3.3 / freedom)


def _joined(windows: list[tuple[float, Losses]]) -> tuple[float, Losses]:
    labels = [label for label in windows[0][1] if all(label in losses for _, losses in windows)]
    means = {label: float(np.mean([losses[label] for _, losses in windows])) for label in labels}
    return float(np.mean([position for position, _ in windows])), means
