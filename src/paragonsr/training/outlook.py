"""What is to be expected of the run, after each validation."""

from collections.abc import Callable
from typing import Any

from paragonsr.automation.forecast import Forecast, forecast
from paragonsr.automation.protocol import Validation
from paragonsr.training.settings import Settings


class Outlook:
    """Collects the deciding figure of each validation and forecasts how it ends.

    The course of the rate ahead is the schedule with the factors in force; a decay that is still to be decided is not
    in it.

    Args:
        metric: name of the figure, on the first validation set.
        rate: (position, base rate) -> rate by the schedule.
        total: position of the end.
        ema_decay, ema_power: of the averaged weights that are validated.
    """

    def __init__(
        self, metric: str, rate: Callable[[float, float], float], total: int, ema_decay: float, ema_power: float
    ) -> None:
        self._metric, self._rate, self._total = metric.removeprefix("val/"), rate, total
        self._average = ema_decay, ema_power
        self.points: list[list[float]] = []
        """[position, figure, the larger the better]."""

    def after(self, validation: Validation, settings: Settings) -> Forecast | None:
        """The forecast in the metric's own direction; None while too little is known, or where it is not measured."""
        first = next(iter(validation.figures.values()), {})
        if self._metric not in first:
            return None
        figure = first[self._metric]
        sign = 1.0 if figure.better == "higher" else -1.0
        self.points.append([settings.pace.position_at(validation.iteration), sign * figure.value])
        positions, values = zip(*self.points, strict=True)

        def rate(position: float) -> float:
            return self._rate(position, settings.lr) * settings.lr_factor(position)

        found = forecast(positions, values, rate, self._total, *self._average)
        if found is None or sign > 0:
            return found
        return Forecast(-found.final, -found.high, -found.low, found.iterations_to_next_tenth)

    def state_dict(self) -> dict[str, Any]:
        """The figures so far."""
        return {"points": self.points}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.points = [list(point) for point in state["points"]]
