"""Runs a command in its own process, which gets time to save when the comparison is stopped."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

POLL = 0.2
"""Seconds between two checks for new output of a run, and for its end."""
ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that ask a process to end, or that its terminal was closed."""


def run_to_its_end(command: Sequence[str], log: Path, tell: Callable[[str], None]) -> int:
    """Run a command, and pass on its output.

    The command writes to a file and has its own session: if this process is killed, the command continues and nothing
    is lost. If this process is interrupted, it forwards the signal once and waits until the run has saved.

    Args:
        command: the command.
        log: file for its output.
        tell: receives each line of output.

    Returns:
        its exit status, negative if a signal killed it.

    Raises:
        KeyboardInterrupt: Ctrl-C or a signal to end, raised after the command has ended; a second one kills it.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    with _signals_interrupt(), log.open(encoding="utf-8", errors="replace") as said:
        try:
            runs = True
            while runs:
                runs = _runs(process)
                for line in said:
                    tell(line.rstrip())
        except KeyboardInterrupt:
            tell("stopping after this step")
            if os.name == "posix":  # on other systems, Ctrl-C reaches it directly
                process.terminate()
            try:
                process.wait()
            except KeyboardInterrupt:
                process.kill()
                process.wait()
            raise
    return process.returncode


def _runs(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(POLL)
    except subprocess.TimeoutExpired:
        return True
    return False


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Make signals that end the process act like Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
