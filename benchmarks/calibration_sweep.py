"""Sweep for the calibration of dynamic_loss_scheduling: share of MS-SSIM x kind of training images.

Training images are sorted by their texture_variance (paragonsr.data.statistics) into a flat and a textured third. On
each, the network of the demo (paragonsr/recipes/demo.yml) is trained with MS-SSIM at different weights, all else equal,
automations off. The results are, for every weight and kind, the paired difference in final PSNR-Y and SSIM-Y to the
first weight, and for every weight the difference of that between the two kinds.

    python benchmarks/calibration_sweep.py --photos FOLDER [FOLDER ...] --val FOLDER [--seeds 3] [--iterations 3000]
        [--out results/calibration] [--json docs/evidence/calibration.json]

Resumable: run the same command again. 24 runs of about 40 s on one core each.
"""

import argparse
import json
import math
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import stats

from paragonsr.data.options import SingleOptions
from paragonsr.data.packed import open_packed
from paragonsr.data.statistics import patch_statistics, statistics
from paragonsr.evidence.statistics import paired_difference
from paragonsr.training.reporting.record import read_steps

CONFIG = "src/paragonsr/recipes/demo.yml"
WEIGHT = "train.losses.1.loss_weight"
ARMS = {
    "demo": "",
    "none": f"{WEIGHT}=0",
    "large": f"{WEIGHT}=0.17",
    "fading": f"{WEIGHT}=0.17; train.losses.1.target_iter=4000; train.losses.1.target_weight=0",
}
"""Name -> changes to the demo configuration, whose weight is 0.05 and whose 4000 iterations the budget rescales."""
KINDS = ("flat", "textured")
SMALLEST = 128
"""Minimum side of a training image, in pixels."""


def select(photos: list[Path], out: Path) -> None:
    """Link the third of the images with the least texture, and that with the most, into two folders."""
    found = []
    for file in sorted(file for folder in photos for file in folder.rglob("*.png")):
        image = np.asarray(Image.open(file).convert("RGB"))
        if min(image.shape[:2]) >= SMALLEST:
            found.append((patch_statistics(image)["texture_variance"], file))
    found.sort()
    third = len(found) // 3
    for kind, part in zip(KINDS, (found[:third], found[-third:]), strict=True):
        folder = out / "images" / kind
        folder.mkdir(parents=True, exist_ok=True)
        for _, file in part:
            link = folder / f"{file.parent.name}_{file.name}"
            if not link.exists():
                link.symlink_to(file.resolve())


def train(kind: str, out: Path, val: Path, seeds: int, iterations: int) -> None:
    """Run the missing trainings on one kind of images."""
    command = [sys.executable, "-m", "paragonsr", "compare", CONFIG, "--fair", "--seeds", str(seeds)]
    command += ["--budget", f"{iterations}it", "--out", str(out / kind)]
    settings = {
        "datasets.train.dataroot_gt": out / "images" / kind,
        "datasets.val.dataroot_gt": val,
        "datasets.val.name": val.parent.name if val.name == "HR" else val.name,
        "val.val_freq": 4000,
        "logger.save_checkpoint_freq": 4000,
    }
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    for name, changes in ARMS.items():
        if changes:
            command += ["--arm", f"{name}: {changes}"]
    subprocess.run(command, check=True)


def shares(run: Path) -> list[float]:
    """MS-SSIM's share of the gradient in the first and in the last tenth of a run, after its first 100 steps."""
    steps = read_steps(run)
    gradients = {
        label: steps[f"loss_weight/{label}"] * np.nan_to_num(steps[f"loss_grad/{label}"]) for label in ("l1", "mssim")
    }
    share = (gradients["mssim"] / (gradients["l1"] + gradients["mssim"]))[100:]
    tenth = len(share) // 10
    return [float(np.median(share[:tenth])), float(np.median(share[-tenth:]))]


def summary(out: Path) -> dict[str, Any]:
    """Shares, final values and differences of every arm and kind, and the differences between the kinds."""
    made: dict[str, Any] = {"arms": {}, "kinds": {}, "interaction": {}}
    differences: dict[tuple[str, str, str], list[float]] = {}
    for kind in KINDS:
        compared = json.loads((out / kind / "compare.json").read_text())
        finals = {(o["metric"], o["arm"]): o["finals"] for o in compared["outcomes"]}
        images = open_packed(SingleOptions(dataroot_gt=str(out / "images" / kind)), 2, "train")
        made["kinds"][kind] = {"images": len(images)} | statistics(images)
        for arm in ARMS:
            row: dict[str, Any] = {"share": shares(out / kind / "runs" / f"{arm}_seed0")}
            for metric in ("psnr", "ssim"):
                row[metric] = finals[metric, arm]
                found = paired_difference(finals[metric, arm], finals[metric, "demo"])
                if arm != "demo":
                    row[f"{metric}_difference"] = asdict(found)
                differences[metric, kind, arm] = np.subtract(finals[metric, arm], finals[metric, "demo"]).tolist()
            made["arms"].setdefault(arm, {})[kind] = row
    for arm in ARMS:
        if arm != "demo":
            made["interaction"][arm] = {
                metric: welch(*(differences[metric, kind, arm] for kind in reversed(KINDS)))
                for metric in ("psnr", "ssim")
            }
    return made


def welch(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Difference of two means of unpaired values with its 95% interval (Welch 1947)."""
    found = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    return {"mean": math.fsum(ours) / len(ours) - math.fsum(theirs) / len(theirs), "low": found.low, "high": found.high}


def lines(made: dict[str, Any]) -> list[str]:
    """The table of the sweep."""
    table = [f"{'arm':8} {'images':9} {'share, first and last tenth':28} {'PSNR-Y, dB':28} SSIM-Y"]
    for arm, kinds in made["arms"].items():
        for kind, row in kinds.items():
            first, last = row["share"]
            cells = []
            for metric, digits in (("psnr", 3), ("ssim", 5)):
                found = row.get(f"{metric}_difference")
                mean = sum(row[metric]) / len(row[metric])
                cells.append(
                    f"{mean:.{digits}f}"
                    if found is None
                    else f"{found['mean']:+.{digits}f} [{found['low']:+.{digits}f}, {found['high']:+.{digits}f}]"
                )
            table.append(f"{arm:8} {kind:9} {f'{first:.3f} .. {last:.3f}':28} {cells[0]:28} {cells[1]}")
    for arm, metrics in made["interaction"].items():
        cells = [f"{m} {f['mean']:+.4f} [{f['low']:+.4f}, {f['high']:+.4f}]" for m, f in metrics.items()]
        table.append(f"{arm:8} textured less flat: {', '.join(cells)}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--val", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=Path("results/calibration"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    select(arguments.photos, arguments.out)
    for kind in KINDS:
        train(kind, arguments.out, arguments.val, arguments.seeds, arguments.iterations)
    made = summary(arguments.out)
    print("\n".join(lines(made)))
    if arguments.json:
        arguments.json.write_text(json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
    main()
