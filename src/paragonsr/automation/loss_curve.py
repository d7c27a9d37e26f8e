"""Training loss as a curve of blocks of equal length, with its slope and standard error."""

from typing import Any

import numpy as np

from paragonsr.automation.protocol import Steps

MOST_BLOCKS = 256
"""Maximum number of blocks; even."""
FEWEST_BLOCKS = 32
STRONGEST_CORRELATION = 0.95
"""Upper limit of the correlation of neighbouring blocks; beyond it, the error of the regression would be unbounded."""

Losses = dict[str, float]
"""Label -> mean unweighted value."""


class LossCurve:
    """Mean losses of consecutive blocks of windows; at most a few hundred blocks, however long the run is.

    When there are too many blocks, neighbours are merged and blocks become twice as long, so all blocks have the same
    length and noise. The losses are stored separately and combined with the current weights when they are compared, so
    that a weight changed by an automation or a ramp does not look like progress.
    """

    def __init__(self) -> None:
        self.length = 1
        """Number of windows in one block."""
        self.blocks: list[tuple[float, Losses]] = []
        """(mean position, losses)."""
        self.open: list[tuple[float, Losses]] = []
        """Windows of the incomplete block."""

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
        """Slope of the logarithm of the weighted loss over the later half of the curve, and its standard error.

        Args:
            weights: current weight of each loss.
            least_span: positions that the later half must cover.

        Returns:
            both per position; None if there are too few blocks.
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
    """Mean of each loss over the steps where it is finite, and its current weight; never-finite losses are omitted.

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
    """Weighted sum at each point of a curve, over the losses that all points have; None if it is nowhere positive.

    Returns:
        float64, one entry per point.
    """
    labels = [label for label in weights if all(label in losses for losses in curve)]
    totals = np.array([sum(weights[label] * losses[label] for label in labels) for losses in curve], float)
    return totals if len(totals) and (totals > 0).all() else None


def slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of the regression line of equally spaced points, and its standard error corrected for autocorrelation.

    Correlated noise reduces the number of independent points: the variance is multiplied by (1 + r) / (1 - r), with r
    the correlation of neighbouring residuals, corrected for the bias from fitting a line (Kendall 1954: about
    -(2 + 4 r) / n). To account for the small number of effective points, the error is widened like the quantiles of
    Student's t at three and a half standard errors (their first-order term, (1 + z^2) / 4 per degree of freedom).

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
