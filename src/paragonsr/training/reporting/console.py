"""Console output of a run: a live bar on a terminal, plain lines elsewhere, all of it also in train.log."""

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType

from rich.console import Console as RichConsole
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

REFRESH_SECONDS = 0.25
"""Time between two redraws of the bar."""
SIDE_TASK_SECONDS = 30.0
"""Where there is no bar, time between two lines about a task other than training."""


class Console:
    """Progress and messages of one process.

    Args:
        log: file that all lines are appended to; None in all but the main process, which alone prints.
    """

    def __init__(self, log: Path | None) -> None:
        self._log = log.open("a", encoding="utf-8") if log else None
        self._rich = RichConsole(file=sys.stdout, quiet=log is None, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("elapsed"),
            TimeElapsedColumn(),
            TextColumn("remaining"),
            TimeRemainingColumn(),
            console=self._rich,
            expand=True,
        )
        self._shows_bar = self._rich.is_terminal and log is not None
        self._figures = Text(no_wrap=True, overflow="ellipsis")
        # No refresh thread: when the height of the bar changes, it would erase lines above the bar.
        self._live = Live(Group(self._bar, self._figures), console=self._rich, auto_refresh=False)
        self._refreshed = 0.0
        self._task: TaskID | None = None
        self._total = 0
        self._started = (0.0, 0)
        self._side_said = 0.0

    def __enter__(self) -> "Console":
        if self._shows_bar:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_bar()
        if kind is not None:
            self._write(f"ended by {kind.__name__}: {value}")
        if self._log:
            self._log.close()

    def end_bar(self) -> None:
        """Stop drawing the bar; messages can still be printed."""
        if self._shows_bar:
            self._live.stop()
            self._shows_bar = False

    def say(self, text: str, style: str | None = None) -> None:
        """Print one message above the bar."""
        self._rich.print(escape(text), style=style)
        self._write(text)

    def _write(self, text: str) -> None:
        if self._log:
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
            self._log.flush()

    def _refresh(self) -> None:
        now = time.monotonic()
        if self._shows_bar and now - self._refreshed > REFRESH_SECONDS:
            self._refreshed = now
            self._live.refresh()

    def begin(self, done: int, total: int) -> None:
        """Show the progress bar of the training iterations."""
        self._total, self._started = total, (time.monotonic(), done)
        self._task = self._bar.add_task("training", total=total, completed=done)

    def advance(self, iteration: int, total: int) -> None:
        """Move the bar to `iteration` of `total`."""
        self._total = total
        if self._task is not None:
            self._bar.update(self._task, completed=iteration, total=total)
        self._refresh()

    def show(self, iteration: int, values: Mapping[str, str], *, line: bool) -> None:
        """Show new values in the bar; with `line`, also as a plain line in the log and where there is no bar."""
        text = "  ".join(f"{name} {value}" for name, value in values.items())
        self._figures.plain = text
        self._refresh()
        if line:
            began, first = self._started
            rate = (time.monotonic() - began) / max(iteration - first, 1)
            remaining = timedelta(seconds=round(rate * (self._total - iteration)))
            elapsed = timedelta(seconds=round(time.monotonic() - began))
            text = f"iter {iteration}/{self._total}  elapsed {elapsed}  remaining {remaining}  {text}"
            if not self._shows_bar:
                self._rich.print(escape(text))
            self._write(text)

    def side_task(self, title: str, done: int, total: int) -> None:
        """Show the progress of a task other than training (packing, validation); it disappears when complete.

        Where there is no bar, a line says it every 30 seconds.
        """
        for task in self._bar.tasks:
            if task.description == title:
                self._bar.update(task.id, completed=done)
                if done >= total:
                    self._bar.remove_task(task.id)
                elif not self._shows_bar and time.monotonic() - self._side_said >= SIDE_TASK_SECONDS:
                    self._side_said = time.monotonic()
                    self.say(f"{title}: {done} of {total}")
                self._refresh()
                return
        if done < total:
            self._side_said = time.monotonic()
            self._bar.add_task(title, total=total, completed=done)
            self._refresh()
