"""Straightforward script to upscale a folder: spandrel, PyTorch, Pillow, one image after the other.

python plain_loop.py IN OUT WEIGHTS
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import paragonsr.spandrel

paragonsr.spandrel.install()
import spandrel  # noqa: E402 - `install` finds a way around a torchvision that does not fit this torch


def load(weights: Path) -> Any:
    """Load spandrel's descriptor, which is called like the network."""
    return spandrel.ModelLoader().load_from_file(weights).eval()


def upscale(model: Any, source: Path, out: Path) -> float:
    """Upscale all images of a folder. Returns the megapixels written."""
    out.mkdir()
    pixels = 0
    for file in sorted(source.iterdir()):
        image = np.asarray(Image.open(file).convert("RGB"))
        with torch.inference_mode():
            sr = model(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255)
        sr = (sr[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(sr).save(out / f"{file.stem}.png")
        pixels += sr.shape[0] * sr.shape[1]
    return pixels / 1e6


if __name__ == "__main__":
    source, out, weights = (Path(argument) for argument in sys.argv[1:])
    model, begun = load(weights), time.perf_counter()
    megapixels, seconds = upscale(model, source, out), time.perf_counter() - begun
    print(f"{megapixels:.2f} MP in {seconds:.2f} s")
