"""The pictures of docs/automations.md: what each automation watches, in a run of its own, with its decisions marked.

    python benchmarks/automation_plots.py --out docs/automations loss_balance=RUN learning_rate=RUN ...

needs chromium, which draws the plots of `paragonsr report` into a PNG.
"""

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.embed import file_html
from bokeh.resources import INLINE

from paragonsr.evidence.plots import Mark, step_curves
from paragonsr.evidence.runs import Run

WIDTH, HEIGHT = 900, 330


def loss_balance(run: Run, marks: list[Mark]) -> Any:
    """Share of every loss but the anchor."""
    shares = {name: share for name, share in run.shares.items() if name != "l1"}
    return step_curves("share in the pull on the image", "share", shares, marks)


def learning_rate(run: Run, marks: list[Mark]) -> Any:
    """The rate that the optimiser used."""
    return step_curves("learning rate", "lr", {"lr": run.steps["lr"]}, marks, noisy=False)


def batch_size(run: Run, marks: list[Mark]) -> Any:
    """Batch and micro-batch."""
    sizes = {"batch": run.steps["batch_size"], "micro-batch": run.steps["micro_batch"]}
    return step_curves("batch size", "samples", sizes, marks, noisy=False)


def early_stopping(run: Run, marks: list[Mark]) -> Any:
    """The figure that decides."""
    at, psnr = run.curve("psnr")
    every = np.interp(run.steps["iteration"], at, psnr)
    return step_curves("PSNR-Y of the first validation set", "dB", {"PSNR": every}, marks, noisy=False)


def gradient_clipping(run: Run, marks: list[Mark]) -> Any:
    """Norms before clipping."""
    return step_curves("gradient norm before clipping", "norm", {"norm": run.steps["grad_norm"]}, marks, log=True)


PLOTS: dict[str, Callable[[Run, list[Mark]], Any]] = {
    plot.__name__: plot for plot in (loss_balance, learning_rate, batch_size, early_stopping, gradient_clipping)
}


def draw(plot: Any, file: Path, width: int = WIDTH, height: int = HEIGHT) -> None:
    """A plot of fixed size as a PNG."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "plot.html"
        page.write_text(file_html(plot, INLINE), encoding="utf-8")
        browser = shutil.which("chromium") or "chromium"
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=4000"]
        size = [f"--window-size={width},{height}", f"--screenshot={file.resolve()}"]
        subprocess.run([browser, *options, *size, page.as_uri()], check=True, capture_output=True)


def main() -> None:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="AUTOMATION=RUN")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for pair in given.runs:
        name, _, folder = pair.partition("=")
        run = Run(Path(folder))
        marks = [Mark(entry["iteration"], entry["setting"], entry["reason"]) for entry in run.journal]
        plot = PLOTS[name](run, marks)
        plot.update(width=WIDTH - 20, height=HEIGHT - 20, sizing_mode="fixed")
        draw(plot, given.out / f"{name}.png")
        print(f"{given.out / name}.png: {len(marks)} decisions")


if __name__ == "__main__":
    main()
