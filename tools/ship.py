"""Adds a trained network to the models bundled with the package.

python -m tools.ship WEIGHTS NAME BENCHMARKS --recipe "paragonsr train ..." --trained-on "..." --licence MIT

BENCHMARKS contains Set5/HR, Set14/HR and B100/HR. The weights are rounded to fp16, and everything is measured with the
rounded weights.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from paragonsr import models
from paragonsr.archs.complexity import count_macs, count_parameters
from paragonsr.archs.weights import load_network, read_weights, save_weights
from paragonsr.export.onnx import export_onnx
from paragonsr.export.source import open_source
from paragonsr.inference.benchmark import benchmark
from paragonsr.inference.model import load
from paragonsr.metrics.options import PSNROptions, PSNRYOptions, SSIMYOptions

SETS = ("Set5", "Set14", "B100")
METRICS = {"psnr_y": PSNRYOptions(), "ssim_y": SSIMYOptions(), "psnr": PSNROptions()}
SIDE = 80
"""Side of the LR image for which multiply-accumulates are counted, in pixels."""


def ship(weights: Path, name: str, benchmarks: Path, said: dict[str, str]) -> None:
    """Write the three files of a model.

    Args:
        weights: weights of one of our networks, as saved by training.
        name: name of the model.
        benchmarks: folder of the three sets.
        said: recipe, trained_on and licence, for the card.
    """
    tensors, metadata = read_weights(weights)
    assert metadata is not None
    halves = {key: tensor.half() for key, tensor in tensors.items()}
    file = models.FOLDER / f"{name}.safetensors"
    save_weights(file, halves, {key: metadata[key] for key in ("arch", "scale", "options")} | {"name": name})
    export_onnx(open_source(file), models.FOLDER / f"{name}.onnx")
    card = _described(file, metadata) | {"measured": _measured(file, benchmarks)} | said
    file.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _described(file: Path, metadata: dict[str, Any]) -> dict[str, Any]:
    network = load_network(file)
    options = {k: v for k, v in metadata["options"].items() if v != getattr(type(network.options)(), k)}  # type: ignore[arg-type,call-arg]
    macs = count_macs(network, SIDE, SIDE) / (SIDE * metadata["scale"]) ** 2 * 1e6
    return {
        "network": metadata["arch"],
        "options": options,
        "scale": metadata["scale"],
        "parameters": count_parameters(network),
        "macs_per_megapixel": round(macs),
        "iterations": metadata.get("iteration"),
        "samples": metadata.get("samples"),
    }


def _measured(file: Path, benchmarks: Path) -> dict[str, dict[str, float]]:
    upscaler = load(file)
    found = {}
    for name in SETS:
        mean = benchmark(upscaler, benchmarks / name / "HR", metrics=METRICS).mean().network
        found[name] = {metric: round(value, 4) for metric, value in mean.items()}
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("name")
    parser.add_argument("benchmarks", type=Path)
    for key in ("recipe", "trained-on", "licence"):
        parser.add_argument(f"--{key}", required=True)
    given = parser.parse_args()
    ship(
        given.weights,
        given.name,
        given.benchmarks,
        {"recipe": given.recipe, "trained_on": given.trained_on, "licence": given.licence},
    )
