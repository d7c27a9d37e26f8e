"""Accuracy of the forecast of the final PSNR: takes run folders, prints coverage of the interval and errors.

    python benchmarks/forecast.py RUN_FOLDER... [--json FILE]

The forecasts are those that each run made during training: the first one after a third, half and two thirds of the run,
compared with its last validation.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from paragonsr.training.reporting.record import read_forecasts, read_validations

SHARES = {"1/3": 1 / 3, "1/2": 1 / 2, "2/3": 2 / 3}


def judged(folder: Path) -> dict[str, Any]:
    """Forecasts of one run: share -> forecast and its error."""
    last = read_validations(folder)[-1]
    final = last.deciding("psnr").value
    made = {
        name: next((f for iteration, f in read_forecasts(folder) if iteration >= share * last.iteration), None)
        for name, share in SHARES.items()
    }
    found = {
        name: vars(f) | {"error": f.final - final, "inside": f.low <= final <= f.high} for name, f in made.items() if f
    }
    return {"run": folder.name, "final": final, "forecasts": found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    runs = [judged(folder) for folder in arguments.runs]
    for run in runs:
        shown = "  ".join(
            f"{name}: {made['final']:.3f} [{made['low']:.3f}, {made['high']:.3f}]{'' if made['inside'] else ' missed'}"
            for name, made in run["forecasts"].items()
        )
        print(f"{run['run']}: {run['final']:.3f}  {shown}")
    summary = {}
    for name in SHARES:
        made = [run["forecasts"][name] for run in runs if name in run["forecasts"]]
        if made:
            inside, error = sum(m["inside"] for m in made), statistics.median(abs(m["error"]) for m in made)
            summary[name] = {"runs": len(made), "inside": inside, "median_error": error}
            print(f"at {name}: {inside} of {len(made)} inside the 80% interval, median error {error:.3f} dB")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"summary": summary, "runs": runs}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
