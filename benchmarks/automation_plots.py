"""Draws the pictures of docs/automations.md: the inputs of each automation in a run, with its decisions marked.

    python benchmarks/automation_plots.py --out docs/automations loss_balance=RUN learning_rate=RUN ...

Needs chromium, which renders the plots of `paragonsr report` to a transparent PNG, for light and dark pages.
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
from PIL import Image

from paragonsr.evidence.plots import Mark, step_curves
from paragonsr.evidence.runs import Run
from paragonsr.html.charts import COLOURS

WIDTH, HEIGHT, TONES = 900, 330, 128
"""Size of a picture in pixels, and its number of colours: enough to avoid banding, few enough for 20 kB."""


def loss_balance(run: Run, marks: list[Mark]) -> Any:
    """Share of every loss but the anchor, and the targets given in the decisions."""
    curves = {}
    for label, share in run.shares.items():
        made = [entry for entry in run.journal if entry["setting"] == f"loss_weight/{label}"]
        if made:
            at, targets = zip(*((e["iteration"], e["values"]["target"]) for e in made), strict=True)
            curves |= {label: share, f"{label}, target": np.interp(run.steps["iteration"], at, targets, left=np.nan)}
    return step_curves("share of the gradient at the image", "share", run.steps["iteration"], curves, marks)


def learning_rate(run: Run, marks: list[Mark]) -> Any:
    """Rate used by the optimiser."""
    return step_curves("learning rate", "rate", run.steps["iteration"], {"rate": run.steps["lr"]}, marks, noisy=False)


def batch_size(run: Run, marks: list[Mark]) -> Any:
    """Batch and micro-batch."""
    plot = step_curves(
        "samples of a step, and of a pass through the network", "samples", run.steps["iteration"], {}, marks
    )
    _add_steps(plot, "batch", run.steps["iteration"], run.steps["batch_size"], COLOURS[0], 5)
    _add_steps(plot, "micro-batch", run.steps["iteration"], run.steps["micro_batch"], COLOURS[1], 2)
    return plot


def early_stopping(run: Run, marks: list[Mark]) -> Any:
    """Deciding metric."""
    at, psnr = run.curve("psnr")
    every = np.interp(run.steps["iteration"], at, psnr)
    return step_curves(
        "PSNR-Y of the validation set", "dB", run.steps["iteration"], {"PSNR": every}, marks, noisy=False
    )


def gradient_clipping(run: Run, marks: list[Mark]) -> Any:
    """Norms before clipping, and the current threshold."""
    made = [entry for entry in run.journal if entry["setting"] == "grad_clip"]
    threshold = np.full(len(run.steps["lr"]), made[0]["from"])
    for entry in made:
        threshold[run.steps["iteration"] > entry["iteration"]] = entry["to"]
    norms = {"norm": run.steps["grad_norm"]}
    plot = step_curves("gradient norm before clipping", "norm", run.steps["iteration"], norms, marks, log=True)
    _add_steps(plot, "threshold", run.steps["iteration"], threshold, COLOURS[1], 2)
    return plot


def _add_steps(plot: Any, name: str, at: np.ndarray, values: np.ndarray, colour: str, width: int) -> None:
    """Add a step curve with its name."""
    plot.step(at, values, mode="before", color=colour, line_width=width, legend_label=name)
    for legend in plot.legend:
        legend.visible, legend.background_fill_alpha, legend.border_line_alpha = True, 0, 0
        legend.label_text_color = plot.title.text_color


PLOTS: dict[str, Callable[[Run, list[Mark]], Any]] = {
    plot.__name__: plot for plot in (loss_balance, learning_rate, batch_size, early_stopping, gradient_clipping)
}


def draw(plot: Any, file: Path, width: int = WIDTH, height: int = HEIGHT) -> None:
    """Render a plot of fixed size as a PNG with few colours."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "plot.html"
        page.write_text(file_html(plot, INLINE), encoding="utf-8")
        browser = shutil.which("chromium") or "chromium"
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=4000"]
        options += ["--default-background-color=00000000", f"--window-size={width},{height}"]
        picture = Path(folder) / "plot.png"
        command = [browser, *options, f"--screenshot={picture}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True)
        with Image.open(picture) as drawn:
            drawn.quantize(TONES, method=Image.Quantize.FASTOCTREE).save(file, optimize=True)


def main() -> None:
    """Draw the requested pictures."""
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
