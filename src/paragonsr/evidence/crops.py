"""Tiles of the validation images with the largest gain over bicubic, and with the largest loss."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from paragonsr import resize
from paragonsr.config import Config
from paragonsr.data.decoding import load_pair
from paragonsr.data.pairing import find_pairs
from paragonsr.inference.model import Upscaler, load
from paragonsr.metrics.psnr import psnr
from paragonsr.training.reporting.pictures import sheet

TILE = 96
"""Side of a tile in HR pixels; a multiple of every scale."""
SHOWN = 3
"""Number of tiles with the largest gain, and of those with the largest loss."""
IMAGES = 20
"""Maximum number of images to examine."""


@dataclass(frozen=True)
class Tile:
    """One tile with its pictures."""

    image: str
    gain: float
    """PSNR over R, G, B of the best weights minus that of bicubic, dB."""
    panels: list[np.ndarray]
    """LR, bicubic, SR first, SR best, HR."""
    values: list[float]
    """PSNR of bicubic, SR first and SR best in this tile, dB."""


def crops(config: Config, models: Path) -> tuple[bytes, bytes, int] | None:
    """Draw pictures of the tiles with the largest gain and with the largest loss.

    Args:
        config: configuration of the run; its first validation set is used.
        models: folder with first.safetensors and best.safetensors.

    Returns:
        both as PNG, and the number of examined images; None if nothing was validated yet, or no image is as large as a
        tile.

    Raises:
        UserError: the validation images no longer exist.
    """
    if not config.val_sets or not (models / "best.safetensors").exists():
        return None
    phase, options = next(iter(config.val_sets.items()))
    first, best = (load(models / f"{name}.safetensors", device="cpu") for name in ("first", "best"))
    pairs = find_pairs(options, phase)[:IMAGES]
    tiles: list[Tile] = []
    for pair in pairs:
        hr, lr = load_pair(pair, config.scale)
        tiles += _tiles(pair.name, hr, lr, config.scale, first, best)
        # Only the extremes are kept, because a set may have thousands of tiles.
        tiles.sort(key=lambda tile: tile.gain)
        tiles = tiles[:SHOWN] + tiles[max(SHOWN, len(tiles) - SHOWN) :]
    if not tiles:
        return None
    gains = sorted(tiles, key=lambda tile: -tile.gain)[:SHOWN]
    losses = sorted(tiles, key=lambda tile: tile.gain)[:SHOWN]
    return _drawn(gains), _drawn(losses), len(pairs)


def _tiles(name: str, hr: np.ndarray, lr: np.ndarray, scale: int, first: Upscaler, best: Upscaler) -> list[Tile]:
    versions = [resize.upscale(lr, scale), first.upscale(lr), best.upscale(lr)]
    found = []
    for top in range(0, hr.shape[0] - TILE + 1, TILE):
        for left in range(0, hr.shape[1] - TILE + 1, TILE):
            here = np.s_[top : top + TILE, left : left + TILE]
            small = np.s_[top // scale : (top + TILE) // scale, left // scale : (left + TILE) // scale]
            values = [min(psnr(version[here], hr[here]), 99.0) for version in versions]
            panels = [lr[small], *(version[here] for version in versions), hr[here]]
            found.append(Tile(name, values[2] - values[0], [panel.copy() for panel in panels], values))
    return found


def _drawn(tiles: list[Tile]) -> bytes:
    rows = []
    for tile in tiles:
        bicubic, first, best = tile.values
        labels = [tile.image, f"{bicubic:.2f} dB", f"{first:.2f} dB", f"{best:.2f} dB ({best - bicubic:+.2f})", ""]
        rows.append((tile.panels, labels))
    content = io.BytesIO()
    picture = sheet(rows, ["LR", "bicubic", "SR, first validation", "SR, best", "HR"])
    Image.fromarray(picture).save(content, format="PNG", optimize=True)
    return content.getvalue()
