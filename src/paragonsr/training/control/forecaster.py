"""What PSNR is to be expected of the run, after each validation."""

from collections.abc import Callable
from typing import Any

from paragonsr.automation.forecast import Forecast, forecast
from paragonsr.automation.protocol import Validation
from paragonsr.training.control.controller import Hyperparameters


class Forecaster:
    """Collects the deciding metric of each validation and forecasts how it ends.

    The course of the rate ahead is the schedule with the factors in force; a decay that is still to be decided is not
    in it.

    Args:
        metric: name of the value, on the first validation set.
        rate: (position, base rate) -> rate by the schedule.
        total: position of the end.
        ema_decay, ema_power: of the averaged weights that are validated.
    """

    def __init__(
        self, metric: str, rate: Callable[[float, float], float], total: int, ema_decay: float, ema_power: float
    ) -> None:
        self._metric, self._rate, self._total = metric, rate, total
        self._average = ema_decay, ema_power
        self.points: list[list[float]] = []
        """[position, value]."""

    def after(self, validation: Validation, settings: Hyperparameters) -> Forecast | None:
        """The forecast; None while too little is known, or where the value is not measured or is no PSNR.

        The constants of the forecast are in dB: of another metric it would say nothing.
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
        """The values so far."""
        return {"points": self.points}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.points = [list(point) for point in state["points"]]
