"""Where observations and decisions are shown: record, TensorBoard and console, each once."""

import numpy as np

from paragonsr.automation.forecast import Forecast
from paragonsr.automation.journal import Entry
from paragonsr.automation.protocol import Decay, MetricValue, Observation, Steps, Validation
from paragonsr.training.control.best import Best
from paragonsr.training.reporting.console import Console
from paragonsr.training.reporting.record import MetricsRecord
from paragonsr.training.reporting.tensorboard import TensorBoardLogger

KEPT = ("val", "best", "end", "+0.1 in")
"""What a validation has shown stays until the next one."""


class LoggerGroup:
    """Passes every observation and every journal entry on to those who show or keep it.

    Args:
        recorder: keeps all observations; None in processes that do not lead.
        board: TensorBoard.
        console: bar and lines.
    """

    def __init__(self, record: MetricsRecord | None, tensorboard: TensorBoardLogger, console: Console) -> None:
        self._recorder, self._board, self._console = record, tensorboard, console
        self._shown: dict[str, str] = {}

    def advance(self, iteration: int, total: int) -> None:
        """So many iterations are done, of so many."""
        self._console.advance(iteration, total)

    def say(self, text: str, style: str | None = None) -> None:
        """A message to the user."""
        self._console.say(text, style)

    def resume(self, best: Best | None) -> None:
        """Show what the run has reached already."""
        if best is not None:
            self._shown["best"] = _best(best)

    def observe(self, observation: Observation, best: Best | None, *, line: bool) -> None:
        """Record and show one observation; with `line`, also as a plain line."""
        if self._recorder is not None:
            self._recorder.write(observation)
        self._board.observe(observation)
        if isinstance(observation, Steps):
            # The validation first: a narrow terminal cuts the rest off.
            self._shown = {k: self._shown[k] for k in KEPT if k in self._shown} | _summary(observation)
        elif isinstance(observation, Validation):
            for name, metrics in observation.metrics.items():
                shown = "  ".join(_figure(metric, figure) for metric, figure in metrics.items())
                self._console.say(f"iter {observation.iteration}  {name}: {shown}", "cyan")
            if best is not None:
                first = next(iter(observation.metrics.values()))
                self._shown["val"] = f"{best.metric} {first[best.metric].value:.3f}"
                self._shown["best"] = _best(best)
        line = line and isinstance(observation, Steps)
        self._console.show(observation.iteration, self._shown, line=line)

    def forecast(self, iteration: int, expected: Forecast) -> None:
        """Record and show what is expected of the end."""
        if self._recorder is not None:
            self._recorder.forecast(iteration, expected)
        self._board.forecast(iteration, expected)
        self._shown["end"] = f"{expected.final:.3f} ({expected.low:.3f} .. {expected.high:.3f})"
        if expected.iterations_to_next_tenth is not None:
            self._shown["+0.1 in"] = f"{expected.iterations_to_next_tenth} it"
        else:
            self._shown.pop("+0.1 in", None)

    def entry(self, entry: Entry) -> None:
        """Show one decision."""
        self._board.entry(entry)
        decision = entry.decision
        change = decision.setting
        if not isinstance(decision.value, bool):
            change += f" {shown(entry.before)} -> {shown(decision.value)}"
        outcome = "" if entry.outcome == "applied" else f" ({entry.outcome})"
        self._console.say(
            f"iter {entry.iteration}  {decision.automation}: {change}{outcome}: {decision.reason}", "yellow"
        )


def shown(value: float | int | bool | Decay | None) -> str:
    """A setting's value as a person reads it."""
    if isinstance(value, Decay):
        return f"{value.shape} decay from {value.start:.0f} to {value.end:.0f} down to {value.floor:g}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _best(best: Best) -> str:
    return f"{best.value:.3f} @ {best.iteration}"


def _figure(metric: str, figure: MetricValue) -> str:
    left_out = f" ({figure.exact} reproduced exactly, left out)" if figure.exact else ""
    return f"{metric} {figure.value:.4f}{left_out}"


def _summary(window: Steps) -> dict[str, str]:
    figures = window.values
    seconds = max(float(figures["seconds"].sum()), 1e-9)
    shown = {
        "it/s": f"{len(figures['seconds']) / seconds:.1f}",
        "wait": f"{figures['data_wait'].sum() / seconds:.0%}",
        "lr": f"{figures['lr'][-1]:.2e}",
    }
    for name, values in figures.items():
        if name.startswith("loss/") and np.isfinite(values).any():
            shown[name.removeprefix("loss/")] = f"{values[np.isfinite(values)].mean():.4f}"
    return shown
