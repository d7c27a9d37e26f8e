"""Distribution of observations and decisions to the record, the console and all configured loggers."""

from collections.abc import Sequence

import numpy as np

from paragonsr.automation.forecast import Forecast
from paragonsr.automation.journal import Entry
from paragonsr.automation.protocol import Decay, MetricValue, Observation, SettingValue, Steps, Validation
from paragonsr.loggers.base import Image, Logger
from paragonsr.training.control.best import Best
from paragonsr.training.reporting.console import Console

KEPT = ("val", "best", "end", "+0.1 in")
"""Values of a validation, which stay on the bar until the next one."""


class LoggerGroup:
    """Passes every observation, decision, forecast and picture on to all loggers, and shows it on the console.

    Args:
        loggers: the record and the configured loggers; none in processes other than the main one.
        console: shows the bar and the lines.
    """

    def __init__(self, loggers: Sequence[Logger], console: Console) -> None:
        self._loggers, self._console = list(loggers), console
        self._shown: dict[str, str] = {}

    def advance(self, iteration: int, total: int) -> None:
        """Move the bar to `iteration` of `total`."""
        self._console.advance(iteration, total)

    def say(self, text: str, style: str | None = None) -> None:
        """Show the user a message."""
        self._console.say(text, style)

    def resume(self, best: Best | None) -> None:
        """Show the best result of the earlier sessions."""
        if best is not None:
            self._shown["best"] = _best(best)

    def observe(self, observation: Observation, best: Best | None, *, line: bool) -> None:
        """Record and show one observation; with `line`, also as a plain line."""
        for logger in self._loggers:
            logger.observe(observation)
        if isinstance(observation, Steps):
            # The validation comes first, because a narrow terminal cuts off the rest.
            self._shown = {k: self._shown[k] for k in KEPT if k in self._shown} | _summary(observation)
        elif isinstance(observation, Validation):
            self._show_validation(observation, best)
        line = line and isinstance(observation, Steps)
        self._console.show(observation.iteration, self._shown, line=line)

    def _show_validation(self, validation: Validation, best: Best | None) -> None:
        for name, metrics in validation.metrics.items():
            shown = "  ".join(_metric(metric, value) for metric, value in metrics.items())
            self._console.say(f"iter {validation.iteration}  {name}: {shown}", "cyan")
        if best is not None:
            self._shown["val"] = f"{best.metric} {validation.deciding(best.metric).value:.3f}"
            self._shown["best"] = _best(best)

    def forecast(self, iteration: int, expected: Forecast) -> None:
        """Record and show the forecast of the final value."""
        for logger in self._loggers:
            logger.forecast(iteration, expected)
        self._shown["end"] = f"{expected.final:.3f} ({expected.low:.3f} .. {expected.high:.3f})"
        if expected.iterations_to_next_tenth is not None:
            self._shown["+0.1 in"] = f"{expected.iterations_to_next_tenth} it"
        else:
            self._shown.pop("+0.1 in", None)

    def decision(self, entry: Entry) -> None:
        """Show one decision."""
        for logger in self._loggers:
            logger.decision(entry)
        decision = entry.decision
        if decision.minor:
            return
        change = decision.setting
        if not isinstance(decision.value, bool):
            before = "" if entry.before is None else f"{shown(entry.before)} -> "
            change += f" {before}{shown(decision.value)}"
        outcome = "" if entry.outcome == "applied" else f" ({entry.outcome})"
        self._console.say(
            f"iter {entry.iteration}  {decision.automation}: {change}{outcome}: {decision.reason}", "yellow"
        )

    def picture(self, name: str, image: Image, iteration: int) -> None:
        """Show one SR image of a validation."""
        for logger in self._loggers:
            logger.picture(name, image, iteration)

    def flush(self) -> None:
        """Write everything to disk or send it to the server."""
        for logger in self._loggers:
            logger.flush()

    def close(self) -> None:
        """Flush and close all loggers."""
        for logger in self._loggers:
            logger.close()


def shown(value: SettingValue | None) -> str:
    """Human-readable form of a setting's value."""
    if isinstance(value, Decay):
        return f"{value.shape} decay from {value.start:.0f} to {value.end:.0f} down to {value.floor:g}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _best(best: Best) -> str:
    return f"{best.value:.3f} @ {best.iteration}"


def _metric(name: str, measured: MetricValue) -> str:
    beside = "" if measured.bicubic is None else f" (bicubic {measured.bicubic:.4f})"
    left_out = f" ({measured.exact} reproduced exactly, left out)" if measured.exact else ""
    return f"{name} {measured.value:.4f}{beside}{left_out}"


def _summary(window: Steps) -> dict[str, str]:
    steps = window.values
    seconds = max(float(steps["seconds"].sum()), 1e-9)
    summary = {
        "it/s": f"{len(steps['seconds']) / seconds:.1f}",
        "wait": f"{steps['data_wait'].sum() / seconds:.0%}",
        "lr": f"{steps['lr'][-1]:.2e}",
    }
    for name, values in steps.items():
        if name.startswith("loss/") and np.isfinite(values).any():
            summary[name.removeprefix("loss/")] = f"{values[np.isfinite(values)].mean():.4f}"
    return summary
