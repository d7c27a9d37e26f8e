"""Calibration on hidden truth: five known pipelines and clean images, fitted from the results and other HR images.

python -m benchmarks.calibration_truth HR WORK

The first 100 images of HR, in the order of their names, are given as HR images; the next 40 are degraded. The result is
docs/evidence/calibration_truth.json: for each pipeline what was true and what was found, median and spread (half the
range) of each parameter, and the energy distances.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from paragonsr.calibration.calibrate import calibrate
from paragonsr.calibration.report import found as sentences
from paragonsr.data.images import read_image, write_png
from paragonsr.degradation.pipeline import PipelineOptions

RESULT = Path(__file__).parents[1] / "docs" / "evidence" / "calibration_truth.json"
CLEAN, BAD = 100, 40
BLUR = {"type": "blur", "kernels": {"iso": 1.0}, "size": [13, 13]}
TO_LR = {"type": "to_lr", "filters": {"bicubic": 1.0}}
TRUTHS: dict[str, list[dict[str, Any]]] = {
    "clean": [],
    "blur": [BLUR | {"sigma": [1.0, 2.0]}, TO_LR],
    "noise": [TO_LR, {"type": "gaussian_noise", "sigma": [4, 10], "gray_prob": 0.0}],
    "jpeg": [TO_LR, {"type": "jpeg", "quality": [40, 70]}],
    "blur, noise, jpeg": [
        BLUR | {"sigma": [0.8, 1.8], "prob": 0.7},
        TO_LR,
        {"type": "poisson_noise", "scale": [0.2, 0.6], "gray_prob": 0.5},
        {"type": "jpeg", "quality": [60, 90]},
    ],
    "sharpening, noise, cropped jpeg": [
        TO_LR,
        {"type": "sharpen", "amount": [0.6, 1.2], "sigma": 1.0},
        {"type": "gaussian_noise", "prob": 0.5, "sigma": [2, 6], "gray_prob": 1.0},
        {"type": "jpeg", "quality": [30, 60], "shift_prob": 1.0},
    ],
}


def main() -> None:
    """Degrade, fit, and write the result."""
    hr, work = Path(sys.argv[1]), Path(sys.argv[2])
    files = sorted(hr.glob("*.png"))[: CLEAN + BAD]
    for file in files[:CLEAN]:
        if not (work / "hr" / file.name).exists():
            write_png(work / "hr" / file.name, read_image(file))
    rows = []
    for name, steps in TRUTHS.items():
        degradation = PipelineOptions.model_validate({"steps": steps}).build(scale=2, seed=1)
        for number, file in enumerate(files[CLEAN:]):
            if not (work / name / file.name).exists():
                write_png(work / name / file.name, degradation.degrade(read_image(file), number))
        begun = time.process_time()
        result = calibrate(work / name, [work / "hr"], 2, 0, lambda done, total: None)
        found = {
            kind: {
                "share": round(s.share, 2),
                "median": (s.low + s.high) / 2,
                "spread": (s.high - s.low) / 2,
                **s.flags,
            }
            for kind, s in result.spans.items()
            if s.share
        }
        distances = {"distance": result.distance, "floor": result.floor, "bicubic": result.bicubic}
        row = {"truth": name, "steps": steps, "found": found} | distances
        row |= {"unexplained": [trait.name for trait in result.unexplained]}
        rows.append(row | {"cpu_seconds": round(time.process_time() - begun, 1)})
        print(name, *sentences(result), {k: round(v, 3) for k, v in distances.items()}, sep="\n  ", flush=True)
        RESULT.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
