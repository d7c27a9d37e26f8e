"""One run in a process of its own, which is given the time to save when the comparison is stopped."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

POLL = 0.2
"""Seconds between two looks at what a run has said, and at whether it has ended."""
ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What ends a process that is asked to end, or whose terminal is closed."""


def run_to_its_end(command: Sequence[str], log: Path, tell: Callable[[str], None]) -> int:
    """Run a command, and pass on what it says.

    It writes to a file, not to us, and has a session of its own: if this process is killed it continues and nothing is
    lost; if this process is interrupted, it is the only one that is told, once, and waits until the run has saved.

    Args:
        command: what to run.
        log: where its output goes.
        tell: is given each line of it.

    Returns:
        its exit status, negative where a signal killed it.

    Raises:
        KeyboardInterrupt: Ctrl-C or a signal to end, after the command has ended; a second one kills it.
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
            if os.name == "posix":  # elsewhere Ctrl-C has reached it too
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
    """Let a signal to end do what Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
