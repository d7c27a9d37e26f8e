"""What a fitted degradation is worth: Nano x2 trained with bicubic, with Real-ESRGAN's two stages, and fitted.

python -m benchmarks.degradation_helps HR WORK [--seeds 3] [--iterations 2500]

The images of HR, in the order of their names, are divided: the first 120 are trained on, 40 are degraded by a hidden
pipeline and given as bad images, 40 others are degraded by the same pipeline and judge. Each run is kept in WORK, so
that the command continues where it was interrupted. The result is docs/evidence/degradation_helps.json: means of PSNR
(RGB) and SSIM by arm, and differences to `like` with 95% intervals over images (means over seeds).
"""

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from paragonsr import load_config, train
from paragonsr.data.images import read_image, write_png
from paragonsr.degradation.pipeline import PipelineOptions
from paragonsr.inference.model import load
from paragonsr.metrics.psnr import psnr
from paragonsr.metrics.ssim import ssim

RESULT = Path(__file__).parents[1] / "docs" / "evidence" / "degradation_helps.json"
TRAIN, BAD, JUDGE = 120, 40, 40
BLUR = {"type": "blur", "kernels": {"iso": 1.0}, "size": [13, 13]}
TO_LR = {"type": "to_lr", "filters": {"bicubic": 1.0}}
HIDDEN: dict[str, list[dict[str, Any]]] = {
    "blur and jpeg": [BLUR | {"sigma": [1.2, 2.4]}, TO_LR, {"type": "jpeg", "quality": [60, 85]}],
    "noise": [TO_LR, {"type": "gaussian_noise", "sigma": [4, 10], "gray_prob": 0.0}],
    "blur, poisson noise and jpeg": [
        BLUR | {"sigma": [0.8, 1.6], "prob": 0.7},
        TO_LR,
        {"type": "poisson_noise", "scale": [0.2, 0.6], "gray_prob": 0.5},
        {"type": "jpeg", "quality": [70, 90], "subsampling": {"420": 0.5, "444": 0.5}},
    ],
}
ARMS = ("bicubic", "realesrgan", "like")


def main() -> None:
    """Run what is missing, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hr", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=2500)
    given = parser.parse_args()
    files = sorted(given.hr.glob("*.png"))[: TRAIN + BAD + JUDGE]
    for name, steps in HIDDEN.items():
        hidden = PipelineOptions.model_validate({"steps": steps}).build(scale=2, seed=77)
        for number, file in enumerate(files):
            part = "hr" if number < TRAIN else "bad" if number < TRAIN + BAD else "judge"
            target = given.work / ("hr" if part == "hr" else f"{name}/{part}") / file.name
            if not target.exists():
                image = read_image(file)
                write_png(target, image if part == "hr" else hidden.degrade(image, number))
    rows: list[dict[str, Any]] = []
    for seed in range(given.seeds):
        for name in HIDDEN:
            for arm in ARMS:
                rows.append(judged(given, files, name, arm, seed))
                print(rows[-1]["hidden"], arm, seed, f"{np.mean(rows[-1]['psnr']):.3f} dB", flush=True)
                RESULT.write_text(json.dumps(summary(rows, given), indent=1) + "\n", encoding="utf-8")


def judged(given: argparse.Namespace, files: list[Path], name: str, arm: str, seed: int) -> dict[str, Any]:
    """PSNR and SSIM of each judging image, after training."""
    # Only the fitted arm depends on the hidden pipeline: the others are trained once for all.
    run = f"{arm}_{seed}" if arm != "like" else f"like_{name.replace(' ', '_').replace(',', '')}_{seed}"
    done = given.work / f"{run}_on_{name}.json"
    if done.exists():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    weights = given.work / "runs" / run / "models" / f"net_g_{given.iterations}.safetensors"
    if not weights.exists():
        config = given.work / f"{run}.yml"
        config.write_text(yaml.safe_dump(configuration(given, name, arm, seed, run)), encoding="utf-8")
        train(load_config(config).config)
    network = load(str(weights), device="cpu")
    row: dict[str, Any] = {"hidden": name, "arm": arm, "seed": seed, "psnr": [], "ssim": []}
    for file in files[TRAIN + BAD :]:
        hr, sr = read_image(file), network.upscale(read_image(given.work / name / "judge" / file.name))
        row["psnr"].append(round(float(psnr(sr, hr, shave=2)), 4))
        row["ssim"].append(round(float(ssim(sr, hr, shave=2, luma=True)), 5))
    done.write_text(json.dumps(row), encoding="utf-8")
    return row


def configuration(given: argparse.Namespace, name: str, arm: str, seed: int, run: str) -> dict[str, Any]:
    """Configuration of a run."""
    work = given.work.absolute()
    images: dict[str, Any] = {"type": "singleimagedataset", "dataroot_gt": str(work / "hr"), "lq_size": 32}
    images |= {"batch_size_per_gpu": 8, "num_worker_per_gpu": 1, "store_root": str(work / "store")}
    if arm != "bicubic":
        images["degradation"] = {"type": "realesrgan"} if arm == "realesrgan" else {"like": str(work / name / "bad")}
    return {
        "name": run,
        "scale": 2,
        "manual_seed": seed,
        "num_threads": 1,
        "network_g": {"type": "paragonsr2_nano"},
        "datasets": {"train": images},
        "train": {
            "total_iter": given.iterations,
            "optim_g": {"type": "AdamW", "lr": 2e-3},
            "scheduler": {"type": "CosineAnnealingLR", "T_max": given.iterations, "eta_min": 1e-5},
            "losses": [{"type": "l1loss"}],
        },
        "path": {"experiments_root": str(work / "runs")},
        "logger": {"save_checkpoint_freq": given.iterations, "use_tb_logger": False},
    }


def summary(rows: list[dict[str, Any]], given: argparse.Namespace) -> dict[str, Any]:
    """Means by hidden pipeline and arm, and differences with intervals."""
    seeds = 1 + max(row["seed"] for row in rows)
    found: dict[str, Any] = {"iterations": given.iterations, "seeds": seeds, "hidden": {}}
    for name in HIDDEN:
        arms = {arm: [r for r in rows if r["hidden"] == name and r["arm"] == arm] for arm in ARMS}
        if not all(arms.values()):
            continue
        entry: dict[str, Any] = {"steps": HIDDEN[name]}
        for metric in ("psnr", "ssim"):
            mean = {arm: np.mean([r[metric] for r in chosen], axis=0) for arm, chosen in arms.items()}
            entry[metric] = {arm: round(float(values.mean()), 4) for arm, values in mean.items()}
            for other in ARMS[:2]:
                differences = (mean["like"] - mean[other]).tolist()
                half = 1.96 * statistics.stdev(differences) / math.sqrt(len(differences))
                middle = statistics.fmean(differences)
                entry[metric][f"like - {other}"] = [round(v, 4) for v in (middle, middle - half, middle + half)]
        found["hidden"][name] = entry
    return found


if __name__ == "__main__":
    main()
