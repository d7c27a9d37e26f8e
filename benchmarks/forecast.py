"""How good the forecast of the final PSNR is: run folders in, coverage of its interval and errors out.

    python benchmarks/forecast.py RUN_FOLDER... [--json FILE]

For each finished run the forecast is made from what was known at a third, half and two thirds of it (the last
validation not after that position), and held against the last validation. The learning rate is the recorded one.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from paragonsr.automation.forecast import forecast
from paragonsr.training.record import read_steps, read_validations

SHARES = {"1/3": 1 / 3, "1/2": 1 / 2, "2/3": 2 / 3}


def judged(folder: Path) -> dict[str, Any]:
    """Forecasts of one run: share -> what was forecast, and how far that was from the final figure."""
    steps, validations = read_steps(folder), read_validations(folder)
    train = json.loads((folder / "run.json").read_text(encoding="utf-8"))["config"]["train"]
    iterations, positions = steps["iteration"], steps["position"] + 1
    at = np.interp([v.iteration for v in validations], iterations, positions)
    values = [v.deciding("psnr").value for v in validations]
    total, found = float(at[-1]), {}
    for name, share in SHARES.items():
        known = int(np.sum(at <= share * total * 1.02))
        made = forecast(
            at[:known].tolist(),
            values[:known],
            lambda position: float(np.interp(position, positions, steps["lr"])),
            total,
            train["ema_decay"],
            train["ema_power"],
        )
        if made is None:
            continue
        found[name] = vars(made) | {
            "position": float(at[known - 1]),
            "error": made.final - values[-1],
            "inside": made.low <= values[-1] <= made.high,
        }
    return {"run": folder.name, "final": values[-1], "forecasts": found}


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
        Path(arguments.json).write_text(json.dumps({"summary": summary, "runs": runs}, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
