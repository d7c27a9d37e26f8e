"""Straightforward training code: files are decoded for each sample, the step is the one of PyTorch's tutorials."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pytorch_msssim import ms_ssim
from torch import Tensor, nn


def batch(hr: Path, lq: Path, count: int, patch: int, scale: int) -> tuple[Tensor, Tensor]:
    """Random patches of paired PNG files: LR and HR images, N x 3 x h x w in [0, 1]."""
    names = sorted(file.name for file in hr.iterdir())
    pairs = []
    for _ in range(count):
        name = random.choice(names)
        small, large = (np.asarray(Image.open(folder / name).convert("RGB")) for folder in (lq, hr))
        y, x = (random.randrange(side - patch + 1) for side in small.shape[:2])
        cut = small[y : y + patch, x : x + patch]
        target = large[scale * y : scale * (y + patch), scale * x : scale * (x + patch)]
        if random.random() < 0.5:
            cut, target = cut[:, ::-1], target[:, ::-1]
        turns = random.randrange(4)
        pairs.append([np.rot90(image, turns) for image in (cut, target)])
    both = (np.stack(images).transpose(0, 3, 1, 2) for images in zip(*pairs, strict=True))
    low, high = (torch.from_numpy(np.ascontiguousarray(images)).float() / 255 for images in both)
    return low, high


def stepper(network: nn.Module, lq: Tensor, hr: Tensor, structural: float) -> Callable[[], None]:
    """Function that makes one step with L1, a share of 1 - MS-SSIM, and AdamW."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-4)

    def step() -> None:
        optimiser.zero_grad()
        sr = network(lq)
        loss = nn.functional.l1_loss(sr, hr)
        if structural:
            loss = loss + structural * (1 - ms_ssim(sr, hr, data_range=1.0))
        loss.backward()
        optimiser.step()

    return step


def upscale(network: nn.Module, image: np.ndarray) -> np.ndarray:
    """SR image of one LR image, uint8."""
    with torch.inference_mode():
        sr = network(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255)
    result: np.ndarray = (sr[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return result
