"""Where observations and decisions are shown: record, TensorBoard and console, each once."""

import numpy as np

from paragonsr.automation.journal import Entry
from paragonsr.automation.protocol import Figure, Observation, Steps
from paragonsr.training.board import Board
from paragonsr.training.console import Console
from paragonsr.training.plan import Plan
from paragonsr.training.record import Recorder
from paragonsr.training.state import Best


class Reporter:
    """Passes every observation and every journal entry on to those who show or keep it.

    Args:
        recorder: keeps all observations; None in processes that do not lead.
        board: TensorBoard.
        console: bar and lines.
        plan: says when a plain line is due.
    """

    def __init__(self, recorder: Recorder | None, board: Board, console: Console, plan: Plan) -> None:
        self._recorder, self._board, self._console, self._plan = recorder, board, console, plan
        self._shown: dict[str, str] = {}

    def advance(self, iteration: int) -> None:
        """One iteration is done."""
        self._console.advance(iteration)

    def say(self, text: str, style: str | None = None) -> None:
        """A message to the user."""
        self._console.say(text, style)

    def observe(self, observation: Observation, best: Best | None) -> None:
        """Record and show one observation."""
        if self._recorder is not None:
            self._recorder.write(observation)
        self._board.observe(observation)
        if isinstance(observation, Steps):
            # The validation first: a narrow terminal cuts the rest off.
            self._shown = {k: v for k, v in self._shown.items() if k in ("val", "best")} | _summary(observation)
            line = self._plan.prints(observation.iteration)
        else:
            for name, metrics in observation.figures.items():
                shown = "  ".join(_figure(metric, figure) for metric, figure in metrics.items())
                self._console.say(f"iter {observation.iteration}  {name}: {shown}", "cyan")
            if best is not None:
                first = next(iter(observation.figures.values()))
                self._shown["val"] = f"{best.metric} {first[best.metric].value:.3f}"
                self._shown["best"] = f"{best.value:.3f} @ {best.iteration}"
            line = False
        self._console.figures(observation.iteration, self._shown, line=line)

    def entry(self, entry: Entry) -> None:
        """Show one decision."""
        self._board.entry(entry)
        decision = entry.decision
        self._console.say(
            f"iter {entry.iteration}  {decision.automation}: {decision.setting} {entry.before} -> {decision.value} "
            f"({entry.outcome}): {decision.reason}",
            "yellow",
        )


def _figure(metric: str, figure: Figure) -> str:
    left_out = f" ({figure.exact} reproduced exactly, left out)" if figure.exact else ""
    return f"{metric} {figure.value:.4f}{left_out}"


def _summary(window: Steps) -> dict[str, str]:
    figures = window.figures
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
