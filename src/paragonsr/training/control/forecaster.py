"""Forecast of the final PSNR, updated after each validation."""

from collections.abc import Callable
from typing import Any

from paragonsr.automation.forecast import Forecast, forecast
from paragonsr.automation.protocol import Validation
from paragonsr.training.control.controller import Hyperparameters


class Forecaster:
    """Collects the deciding metric of each validation and forecasts its final value.

    The future learning rate is taken from the schedule and the current factors; decays that are not yet decided are
    not included.

    Args:
        metric: name of the value, on the first validation set.
        rate: (position, base lr) -> scheduled lr.
        total: position at the end of the run.
        ema_decay, ema_power: parameters of the EMA whose weights are validated.
    """

    def __init__(
        self, metric: str, rate: Callable[[float, float], float], total: int, ema_decay: float, ema_power: float
    ) -> None:
        self._metric, self._rate, self._total = metric, rate, total
        self._average = ema_decay, ema_power
        self.points: list[list[float]] = []
        """Pairs [position, value]."""

    def after(self, validation: Validation, settings: Hyperparameters) -> Forecast | None:
        """Forecast after one more validation; None while too little is known, or if the metric is not a PSNR.

        The constants of the forecast are in dB, so it is meaningless for other metrics.
        """
        first = next(iter(validation.metrics.values()), {})
        value = first.get(self._metric)
        if value is None or not value.protocol.startswith("psnr"):
            return None
        self.points.append([settings.pace.position_at(validation.iteration), value.value])
        positions, values = zip(*self.points, strict=True)

        def rate(position: float) -> float:
            return self._rate(position, settings.lr) * settings.lr_factor(position)

        return forecast(positions, values, rate, self._total, *self._average)

    def state_dict(self) -> dict[str, Any]:
        """Values so far."""
        return {"points": self.points}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.points = [list(point) for point in state["points"]]
