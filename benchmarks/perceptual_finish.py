"""PSNR against a perceptual metric: finishes within a budget, and interpolation of weights.

From the bundled nano, one run per budget and seed with `fidelity_budget`, and one without it. The latter's weights are
interpolated with those of nano, which is the usual remedy. All are measured on images that take part in neither
training nor validation, with metrics that neither trains nor decides.

    python benchmarks/perceptual_finish.py --photos FOLDER [FOLDER ...] --validation FOLDER --test FOLDER
        [--budgets 0.1 0.25 0.5 1] [--seeds 1] [--iterations 250] [--model nano_x4] [--out results/perceptual_finish]
        [--json docs/evidence/perceptual_finish.json] [--picture FILE --crop PHOTO ...]

Resumable: run the same command again; what is finished is only measured. The result is written after each run.
"""

import argparse
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from safetensors.torch import load_file

from paragonsr.data.decoding import load_pair
from paragonsr.data.pairing import Pair
from paragonsr.inference.model import Upscaler, load
from paragonsr.metrics.options import PSNRYOptions
from paragonsr.metrics.perceptual_options import FLIPOptions, LiteFeaturesOptions

SHARES = tuple(np.round(np.linspace(0, 1, 6), 2).tolist())
"""Shares of the run without a budget in the interpolated weights."""
METRICS = {"psnr_y": PSNRYOptions(), "features_efficientnet_lite0": LiteFeaturesOptions(), "flip": FLIPOptions()}
JUDGES = ("features_efficientnet_lite0", "flip")
"""Metrics whose network, if any, takes no part in training or deciding."""
PATCH = 64
"""Side of the training patches, in pixels of HR."""
CROPS, SIDE = 8, 96
"""Validation images: crops from the middle of the first photographs."""
VALIDATIONS = 16
CROP, CROP_AT = 160, 0.4
"""Side of the crops of `--picture`, in pixels, and where they begin, as a share of the sides."""


def configuration(given: argparse.Namespace, name: str, seed: int, budget: float | None) -> dict[str, Any]:
    """A run: L1, features of the third and fourth block of VGG16, and a PatchGAN."""
    total = given.iterations
    discriminator = {"type": "patchgan", "num_feat": 32, "n_layers": 2}
    features = {"conv3_3": 1.0, "conv4_3": 1.0}
    tree: dict[str, Any] = {
        "name": name,
        "scale": given.scale,
        "num_gpu": 0,
        "num_threads": 1,
        "manual_seed": seed,
        "datasets": {
            "train": {
                "type": "singleimagedataset",
                "dataroot_gt": [str(folder.resolve()) for folder in given.photos],
                "lq_size": PATCH // given.scale,
                "batch_size_per_gpu": 4,
                "num_worker_per_gpu": 1,
            },
            "val": {"type": "singleimagedataset", "dataroot_gt": str((given.out / "validation").resolve())},
        },
        "network_g": {"type": "paragonsr2_nano"},
        "path": {"experiments_root": str((given.out / "runs").resolve()), "pretrain_network_g": given.model},
        "train": {
            "total_iter": total,
            "ema_decay": 0.9,
            "warmup_iter": 30,
            "optim_g": {"type": "AdamW", "lr": 3e-4},
            "scheduler": {"type": "CosineAnnealingLR"},
            "observe_every": 5,
            "losses": [
                {"type": "l1loss"},
                # The features of hed-vgg16 are those of levels up to 255.
                {
                    "type": "perceptualloss",
                    "loss_weight": 0.03,
                    "network": "hed-vgg16",
                    "layer_weights": features,
                    "criterion": "l1",
                },
                {
                    "type": "ganloss",
                    "loss_weight": 1.0,
                    "network_d": discriminator,
                    "optim_d": {"type": "AdamW", "lr": 1e-3},
                },
            ],
        },
        "val": {
            "val_freq": max(total // VALIDATIONS, 1),
            "pictures": 0,
            "metrics": {"psnr": {"type": "psnr_y"}, "features": {"type": "features_hed_vgg16"}},
        },
        "logger": {"print_freq": 100, "save_checkpoint_freq": total, "autosave_minutes": 2, "use_tb_logger": False},
    }
    if budget is not None:
        section = {"enabled": True, "budget": budget, "start_ratio": 1.0, "patience": total}
        tree["train"]["training_automations"] = {"fidelity_budget": section}
    return tree


def validation_images(folder: Path, out: Path) -> None:
    """Write the crops."""
    out.mkdir(parents=True, exist_ok=True)
    for file in sorted(folder.glob("*.png"))[:CROPS]:
        image = Image.open(file).convert("RGB")
        left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
        image.crop((left, top, left + SIDE, top + SIDE)).save(out / file.name)


def trained(given: argparse.Namespace, name: str, seed: int, budget: float | None) -> Path:
    """Train one run to its end, or continue it; returns the weights to measure."""
    file = given.out / f"{name}.yml"
    file.write_text(yaml.safe_dump(configuration(given, name, seed, budget), sort_keys=False), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "paragonsr", "train", str(file)], check=True)
    models = given.out / "runs" / name / "models"
    if budget is not None:
        return models / "best.safetensors"
    return models / f"net_g_ema_{given.iterations}.safetensors"


def measured(upscaler: Upscaler, test: Path) -> dict[str, float]:
    """Mean values on the test images."""
    metrics = {name: options.build(scale=upscaler.scale) for name, options in METRICS.items()}
    found: dict[str, list[float]] = {name: [] for name in metrics}
    for file in sorted(test.iterdir()):
        hr, lr = load_pair(Pair(file.stem, file, None), upscaler.scale)
        sr = upscaler.upscale(lr)
        for name, metric in metrics.items():
            found[name].append(metric.measure(sr, hr))
    return {name: round(float(np.mean(values)), 6) for name, values in found.items()}


def interpolated(given: argparse.Namespace, end: Path, share: float) -> Upscaler:
    """Nano, with a share of other weights of the same shape."""
    upscaler = load(given.model, device="cpu")
    start, other = upscaler.network.state_dict(), load_file(end)
    upscaler.network.load_state_dict({k: start[k] + share * (other[k] - start[k]) for k in start})
    return upscaler


def picture(given: argparse.Namespace) -> None:
    """Write crops of photographs at half their size: the start, each budget and no budget of the first seed, and HR."""
    runs = given.out / "runs"
    files = [runs / f"budget{budget}_seed0" / "models" / "best.safetensors" for budget in given.budgets]
    files.append(runs / "unbounded_seed0" / "models" / f"net_g_ema_{given.iterations}.safetensors")
    upscalers = [load(weights, device="cpu") for weights in (given.model, *files)]
    rows = []
    for photo in given.crop:
        image = Image.open(photo).convert("RGB")
        half = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
        left, top = (int(CROP_AT * side) for side in half.size)
        crop = given.out / "crop.png"
        half.crop((left, top, left + CROP, top + CROP)).save(crop)
        hr, lr = load_pair(Pair("crop", crop, None), given.scale)
        edge = slice(CROP // 10, -CROP // 10)
        row = [version[edge, edge] for version in (*(u.upscale(lr) for u in upscalers), hr)]
        rows.append(np.concatenate([np.pad(v, ((2, 2), (2, 2), (0, 0)), constant_values=255) for v in row], 1))
    Image.fromarray(np.concatenate(rows)).quantize(256, dither=Image.Dither.NONE).save(given.picture, optimize=True)


def at_psnr(line: list[dict[str, float]], psnr: float, metric: str) -> float | None:
    """Value of the interpolated weights at a PSNR, between the two shares around it; None beyond the last one."""
    for one, other in pairwise(line):
        if one["psnr_y"] >= psnr >= other["psnr_y"]:
            place = (one["psnr_y"] - psnr) / max(one["psnr_y"] - other["psnr_y"], 1e-9)
            return round(one[metric] + place * (other[metric] - one[metric]), 6)
    return None


def main() -> None:
    """Train, measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano_x4", help="start weights")
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.1, 0.25, 0.5, 1.0], help="in dB")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=250)
    parser.add_argument("--out", type=Path, default=Path("results/perceptual_finish"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="at the end, write crops of the photographs given by --crop")
    parser.add_argument("--crop", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    given.scale = load(given.model, device="cpu").scale
    validation_images(given.validation, given.out / "validation")
    result: dict[str, Any] = {"test": given.test.parent.name, "iterations": given.iterations, "runs": []}
    result["start"] = measured(load(given.model, device="cpu"), given.test)
    for seed in range(given.seeds):
        end = trained(given, f"unbounded_seed{seed}", seed, None)
        line = [{"share": share, **measured(interpolated(given, end, share), given.test)} for share in SHARES]
        result.setdefault("interpolation", {})[seed] = line
        for budget in given.budgets:
            values = measured(
                load(trained(given, f"budget{budget}_seed{seed}", seed, budget), device="cpu"), given.test
            )
            beside = {metric: at_psnr(line, values["psnr_y"], metric) for metric in METRICS}
            run = {"budget": budget, "seed": seed, **values, "interpolation_at_this_psnr": beside}
            result["runs"].append(run)
            judged = ", ".join(f"{name} {values[name]:.4f} (interpolation {beside[name]})" for name in JUDGES)
            print(f"seed {seed}, budget {budget} dB: {values['psnr_y']:.3f} dB, {judged}", flush=True)
            if given.json:
                given.json.parent.mkdir(parents=True, exist_ok=True)
                given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if given.picture:
        picture(given)


if __name__ == "__main__":
    main()
