"""Fuzzing of one kind of input, read thousands of times in its own process."""

import logging
import random
import signal
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from types import FrameType

from benchmarks.fuzz.targets import Target, targets

from paragonsr.errors import UserError

HANG_SECONDS = 20


class _HangError(BaseException):
    """The reader took too long."""


def _hang(number: int, frame: FrameType | None) -> None:
    raise _HangError


def fuzz(target: Target, folder: Path, seed: int) -> tuple[Counter[str], list[str]]:
    """Read `target.count` damaged files; returns the count of each outcome, and the defects."""
    outcomes: Counter[str] = Counter()
    defects = []
    for number in range(target.count):
        dice = random.Random(f"{seed} {target.name} {number}")
        valid = dice.choice(target.seeds)
        path = folder / f"input{target.suffix}"
        path.write_bytes(target.damage(valid, dice))
        outcome, detail = _outcome(target, path, valid)
        outcomes[outcome] += 1
        if detail:
            defects.append(f"{target.name} {number}: {outcome}: {detail}")
    return outcomes, defects


def _outcome(target: Target, path: Path, valid: bytes) -> tuple[str, str]:
    signal.alarm(HANG_SECONDS)
    try:
        wrong = target.read(path, valid)
        return ("wrong result", wrong) if wrong else ("read", "")
    except UserError:
        return "refused", ""
    except _HangError:
        return "hang", path.name
    except BaseException:
        return "foreign exception", traceback.format_exc(limit=-2).strip()
    finally:
        signal.alarm(0)


def fuzzed(name: str, seed: int) -> tuple[dict[str, int], list[str]]:
    """Fuzz one kind of input; returns the count of each outcome, and the defects."""
    logging.disable()
    signal.signal(signal.SIGALRM, _hang)
    with tempfile.TemporaryDirectory() as folder:
        (target,) = [target for target in targets(Path(folder)) if target.name == name]
        outcomes, defects = fuzz(target, Path(folder), seed)
        return dict(outcomes), defects
