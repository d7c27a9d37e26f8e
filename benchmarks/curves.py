"""A comparison against iterations: PSNR-Y of every arm, and its difference to the first arm, paired by seed.

    python benchmarks/curves.py COMPARISON [--set Set14] [--first NAME] --out FILE.png

The shades are 95% t-intervals. Needs chromium, which draws the plots.
"""

import argparse
from pathlib import Path

import numpy as np
from automation_plots import draw
from bokeh.layouts import row

from paragonsr.evidence.course import carried_out
from paragonsr.evidence.plots import Shaded, shaded_curves
from paragonsr.evidence.statistics import paired_difference


def measured(comparison: Path, set_name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Iterations of the validations, and for every arm its figures: seeds x validations."""
    curves: dict[str, np.ndarray] = {}
    iterations = np.empty(0)
    for arm, runs in carried_out(comparison).items():
        found = [run.curve("psnr", set_name) for run in runs]
        iterations = found[0][0]
        curves[arm] = np.stack([values for _, values in found])
    return iterations, curves


def differences(iterations: np.ndarray, values: np.ndarray, to: np.ndarray) -> Shaded:
    """Of two arms, at every validation."""
    found = [paired_difference(list(one), list(other)) for one, other in zip(values.T, to.T, strict=True)]
    mean = np.array([difference.mean for difference in found])
    return Shaded(iterations, mean, np.array([d.low for d in found]), np.array([d.high for d in found]))


def main() -> None:
    """Draw the two plots beside each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path)
    parser.add_argument("--set", default="Set14", help="name of the validation set")
    parser.add_argument("--first", help="what to call the first arm")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    iterations, curves = measured(given.comparison, given.set)
    (first, base), *others = curves.items()
    label = given.first or first
    means = {label if arm == first else arm: Shaded(iterations, values.mean(0)) for arm, values in curves.items()}
    against = {arm: differences(iterations, values, base) for arm, values in others}
    plots = (
        shaded_curves(f"PSNR-Y on {given.set}, mean of the seeds", "iteration", "dB", means),
        shaded_curves(f"difference to {label}", "iteration", "dB", against),
    )
    for plot in plots:
        plot.update(width=480, height=400, sizing_mode="fixed")
    draw(row(*plots), given.out, 1000, 430)


if __name__ == "__main__":
    main()
