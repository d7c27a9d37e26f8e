"""The live bar on a terminal of 80 columns: printed messages stay, whatever the bar does."""

import io
import threading
from pathlib import Path

import pytest

from paragonsr.training.reporting import console as consoles
from paragonsr.training.reporting.console import Console


class _Screen:
    """The lines that a terminal shows, from what was written to it."""

    def __init__(self) -> None:
        self.lines, self.row = [""], 0

    def write(self, text: str) -> None:
        while text:
            if text.startswith("\x1b["):
                end = next(i for i, c in enumerate(text) if i > 1 and c.isalpha())
                self._control(text[2:end], text[end])
                text = text[end + 1 :]
            elif text[0] == "\n":
                self.row += 1
                if self.row == len(self.lines):
                    self.lines.append("")
                text = text[1:]
            elif text[0] == "\r":
                text = text[1:]
            else:
                self.lines[self.row] += text[0]
                text = text[1:]

    def _control(self, given: str, kind: str) -> None:
        if kind == "A":
            self.row -= int(given or 1)
        elif kind == "K":
            self.lines[self.row] = ""


def test_what_was_said_stays_above_a_bar_whose_height_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr(consoles, "REFRESH_SECONDS", 0.0)
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "80", "LINES": "24", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    said = [f"iter {i}  val: psnr {i}" for i in range(8)]
    threads = threading.active_count()
    with Console(tmp_path / "log") as console:
        assert threading.active_count() == threads, "a second one that draws would draw over what is being said"
        console.begin(0, 8)
        for i, line in enumerate(said):
            console.advance(i + 1, 8)
            for done in (1, 2):
                console.side_task("validating", done, 2)
            console.say(line)
            console.show(i + 1, {"psnr": "31.4" * 30}, line=True)
    screen = _Screen()
    screen.write(out.getvalue())
    shown = [line.rstrip() for line in screen.lines]
    assert [line for line in shown if line in said] == said
    assert sum("8/8" in line for line in shown) == 1, "one bar"
    assert not any("validating" in line for line in shown)
    assert max(map(len, shown)) <= 80


def test_without_a_bar_a_long_side_task_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(consoles.time, "monotonic", lambda: now[0])
    with Console(tmp_path / "log") as console:
        for done in range(6):  # 12 s each: lines after 36 s and not before
            console.side_task("packing train", done, 5)
            now[0] += 12
    assert capsys.readouterr().out.splitlines() == ["packing train: 3 of 5"]
    assert "packing train: 3 of 5" in (tmp_path / "log").read_text()
