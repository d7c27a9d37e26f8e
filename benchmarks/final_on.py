"""Measures the final weights of a comparison's runs on images not used for validation, paired by seed.

    python benchmarks/final_on.py COMPARISON HR_FOLDER [--out FILE.json]

Prints, for each arm, PSNR-Y of the last averaged weights (mean over seeds) and the difference to the first arm with its
95% interval and the smallest detectable effect.
"""

import argparse
import json
from pathlib import Path

from paragonsr.evidence.runner import finished_runs
from paragonsr.evidence.runs import Run
from paragonsr.evidence.statistics import paired_difference
from paragonsr.inference.benchmark import benchmark
from paragonsr.inference.model import load


def last_weights(run: Run) -> Path:
    """Averaged weights of a run's last checkpoint."""
    files = (run.folder / "models").glob("net_g*_*.safetensors")
    return max(files, key=lambda file: int(file.stem.rsplit("_", 1)[1]))


def main() -> None:
    """Measure all runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path)
    parser.add_argument("hr", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found: dict[str, list[float]] = {}
    for arm, runs in finished_runs(given.comparison).items():
        tables = [benchmark(load(last_weights(run)), given.hr) for run in runs]
        found[arm] = [table.mean().network["psnr_y"] for table in tables]
    first, result = next(iter(found)), {}
    for arm, values in found.items():
        mean = sum(values) / len(values)
        difference = None if arm == first else paired_difference(values, found[first])
        result[arm] = {"values": values, "mean": mean, "difference": vars(difference) if difference else None}
        print(f"{arm:40} {mean:.3f} dB  {difference or ''}")
    if given.out:
        given.out.write_text(json.dumps({"hr": given.hr.name, "arms": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
