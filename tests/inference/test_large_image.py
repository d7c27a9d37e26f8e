"""A real network upscales 100 megapixels in less memory than the size of the SR image. Takes one or two minutes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import paragonsr
from paragonsr.archs.classic_options import NanoOptions
from paragonsr.archs.weights import save_metadata, save_weights

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's limit on a process' memory"),
]

SIDE, LIMIT = 10_000, 1150 << 20
CAPPED = f"""
import resource
resource.setrlimit(resource.RLIMIT_DATA, ({LIMIT}, {LIMIT}))
from paragonsr.cli import main
main()
"""


def test_100_megapixels_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (2 * SIDE) ** 2 * 3 > 0.99 * LIMIT
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    cell = np.random.default_rng(0).integers(0, 256, (100, 125, 3), np.uint8)
    image = np.tile(cell, (SIDE // 100, SIDE // 125, 1))
    Image.fromarray(image).save(tmp_path / "large.png", compress_level=1)
    torch.manual_seed(1)
    options, weights = NanoOptions(), tmp_path / "nano.safetensors"
    save_weights(weights, options.build(scale=2).state_dict(), save_metadata(options, 2))
    command = [sys.executable, "-c", CAPPED, "upscale", "large.png", "out/", "--model", str(weights)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["large.png"]
    sr = Image.open(tmp_path / "out/large.png")
    assert sr.size == (2 * SIDE, 2 * SIDE)
    whole = paragonsr.load(weights, device="cpu").upscale(image[:400, :400])
    corner = np.asarray(sr.crop((0, 0, 600, 600))).astype(int)
    assert np.abs(corner - whole[:600, :600]).max() <= 1
