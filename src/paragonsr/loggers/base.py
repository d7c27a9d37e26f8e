"""Base classes of all loggers."""

# ruff: noqa: B027 - what a logger does not show, it inherits as a method that does nothing

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from paragonsr.automation.forecast import Forecast
from paragonsr.automation.journal import Entry
from paragonsr.automation.protocol import Decay, Measurements, Observation, Validation
from paragonsr.loggers.scalars import scalars

Image = NDArray[np.uint8]
"""height x width x 3 uint8 RGB."""


class Logger(ABC):
    """Receives all events of a run, in order.

    Only the main process has loggers. A logger may buffer its output until `flush`.
    """

    @abstractmethod
    def observe(self, observation: Observation) -> None:
        """Receive a window of steps, a validation, or other measurements."""

    def decision(self, entry: Entry) -> None:
        """Receive a decision of an automation and its outcome."""

    def forecast(self, iteration: int, expected: Forecast) -> None:
        """Receive the forecast of the final value, made after a validation."""

    def picture(self, name: str, image: Image, iteration: int) -> None:
        """Receive an SR image of the validation at that iteration."""

    def flush(self) -> None:
        """Write everything to disk or send it to the server; called before each checkpoint."""

    def close(self) -> None:
        """Flush and close."""


class ScalarLogger(Logger):
    """Logger of named scalars over iterations; a subclass implements writing of scalars and texts.

    Tags: losses/<label>, loss_weight/<label>, loss_share/<label>, learner/<label>/<name>, lr, grad_norm, perf/*,
    val/<metric> (the first validation set), metrics/<set>/<metric>, automation/<setting>, forecast/*.
    """

    @abstractmethod
    def scalars(self, values: dict[str, float], iteration: int) -> None:
        """Write scalars by their tags."""

    def text(self, tag: str, text: str, iteration: int) -> None:
        """Write a text. Does nothing by default."""

    def observe(self, observation: Observation) -> None:
        """Write the means of a window, the metrics of a validation, or the measurements."""
        self.scalars(scalars(observation), observation.iteration)
        if isinstance(observation, Validation):
            first = next(iter(observation.metrics.values()), {})
            for name, value in first.items():
                self.text(f"protocol/{name}", value.protocol, observation.iteration)
        elif isinstance(observation, Measurements):
            self.text(f"measurements/{observation.kind}", str(dict(observation.values)), observation.iteration)

    def decision(self, entry: Entry) -> None:
        """Write the new value, if it is a number, and the decision as text."""
        decision = entry.decision
        if not isinstance(decision.value, str):
            value = decision.value.floor if isinstance(decision.value, Decay) else float(decision.value)
            self.scalars({f"automation/{decision.setting}": value}, entry.iteration)
        text = f"{decision.setting}: {entry.before} -> {decision.value} ({entry.outcome}): {decision.reason}"
        self.text(f"automation/{decision.automation}", text, entry.iteration)

    def forecast(self, iteration: int, expected: Forecast) -> None:
        """Write the expected final value and its interval."""
        known = {name: value for name, value in vars(expected).items() if value is not None}
        self.scalars({f"forecast/{name}": value for name, value in known.items()}, iteration)
