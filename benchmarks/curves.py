"""Plots a comparison against iterations: PSNR-Y of every arm, and its difference to the first arm, paired by seed.

    python benchmarks/curves.py COMPARISON [--set Set14] [--first NAME] --out FILE.png

The shaded areas are 95% t-intervals. Needs chromium, which draws the plots.
"""

import argparse
from pathlib import Path

from automation_plots import draw
from bokeh.layouts import row

from paragonsr.evidence.curves import difference_curve, mean_curve
from paragonsr.evidence.plots import shaded_curves
from paragonsr.evidence.runner import finished_runs


def main() -> None:
    """Draw the two plots side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path)
    parser.add_argument("--set", default="Set14", help="name of the validation set")
    parser.add_argument("--first", help="label of the first arm")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    runs = finished_runs(given.comparison)
    (first, base), *others = runs.items()
    label = given.first or first
    means = {label if arm == first else arm: mean_curve(of_arm, "psnr", given.set) for arm, of_arm in runs.items()}
    against = {arm: difference_curve(of_arm, base, "psnr", given.set) for arm, of_arm in others}
    plots = (
        shaded_curves(f"PSNR-Y on {given.set}, mean of the seeds", "iteration", "dB", means, legend=True),
        shaded_curves(f"difference to {label}", "iteration", "dB", {label: None, **against}, legend=True),
    )
    for plot in plots:
        plot.update(width=480, height=400, sizing_mode="fixed")
    draw(row(*plots), given.out, 1000, 430)


if __name__ == "__main__":
    main()
