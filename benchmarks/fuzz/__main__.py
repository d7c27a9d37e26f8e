"""Feeds damaged files to every reader and counts the outcomes.

python -m benchmarks.fuzz [--seed 0] [--only images] [--out docs/evidence/fuzz.json]

A file must be read correctly or refused with a UserError. Everything else is a defect: another exception, a hang of
more than 20 seconds, or a wrong result. A process that dies counts as another exception ("foreign exception").
"""

import argparse
import json
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path

from benchmarks.fuzz.outcomes import fuzzed
from benchmarks.fuzz.targets import targets

SHOWN = 5
"""Number of defects per kind of input whose details are printed."""


def main() -> int:
    """Fuzz, print a table, and exit with 1 if there was a defect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind of input")
    parser.add_argument("--out", type=Path, help="JSON of the counts")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chosen = [t for t in targets(Path(folder)) if given.only in (None, t.name)]
    counts = {}
    print(f"{'input':15}{'files':>8}{'read':>8}{'refused':>9}{'foreign':>9}{'hang':>6}{'wrong':>7}")
    total = 0
    for target in chosen:
        with get_context("spawn").Pool(1) as pool:
            outcomes, defects = pool.apply(fuzzed, (target.name, given.seed))
        counts[target.name] = {"files": target.count} | outcomes
        cells = [outcomes.get(k, 0) for k in ("read", "refused", "foreign exception", "hang", "wrong result")]
        print(
            f"{target.name:15}{target.count:8}{cells[0]:8}{cells[1]:9}{cells[2]:9}{cells[3]:6}{cells[4]:7}", flush=True
        )
        for defect in defects[:SHOWN]:
            print(f"  {defect}", file=sys.stderr)
        total += len(defects)
    if given.out:
        given.out.write_text(json.dumps({"seed": given.seed, "counts": counts}, indent=2) + "\n", encoding="utf-8")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
