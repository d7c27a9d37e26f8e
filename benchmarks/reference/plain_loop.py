"""What somebody writes who wants a folder upscaled: spandrel, PyTorch, Pillow, one image after the other.

python plain_loop.py IN OUT WEIGHTS
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import paragonsr.spandrel

paragonsr.spandrel.install()
import spandrel  # noqa: E402 - `install` finds a way around a torchvision that does not fit this torch

source, out, weights = (Path(argument) for argument in sys.argv[1:])
model = spandrel.ModelLoader().load_from_file(weights).eval()
out.mkdir()
pixels, begun = 0, time.perf_counter()
for file in sorted(source.iterdir()):
    image = np.asarray(Image.open(file).convert("RGB"))
    with torch.inference_mode():
        sr = model(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255)
    sr = (sr[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(sr).save(out / f"{file.stem}.png")
    pixels += sr.shape[0] * sr.shape[1]
seconds = time.perf_counter() - begun
print(f"{pixels / 1e6:.4f} MP in {seconds:.4f} s")
