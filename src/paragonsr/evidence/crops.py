"""Tiles of the validation images: with the largest gain over bicubic and the largest loss, and where arms differ."""

import io
from collections.abc import Mapping, Sequence
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
    """PSNR over R, G, B of the last network minus that of bicubic, dB."""
    panels: list[np.ndarray]
    """LR, bicubic, SR by each network, HR."""
    values: list[float]
    """PSNR of bicubic and of each network in this tile, dB."""

    @property
    def spread(self) -> float:
        """Difference between the best and the worst network, dB."""
        return max(self.values[1:]) - min(self.values[1:])


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
        tiles += _tiles(pair.name, hr, lr, config.scale, [first, best])
        # Only the extremes are kept, because a set may have thousands of tiles.
        tiles.sort(key=lambda tile: tile.gain)
        tiles = tiles[:SHOWN] + tiles[max(SHOWN, len(tiles) - SHOWN) :]
    if not tiles:
        return None
    gains = sorted(tiles, key=lambda tile: -tile.gain)[:SHOWN]
    losses = sorted(tiles, key=lambda tile: tile.gain)[:SHOWN]
    titles = ["SR, first validation", "SR, best"]
    return _drawn(gains, titles), _drawn(losses, titles), len(pairs)


def crops_of_arms(config: Config, weights: Mapping[str, Path]) -> bytes | None:
    """Draw the tiles in which the networks of several arms differ most, the same for each arm.

    Args:
        config: a configuration whose first validation set is used.
        weights: arm -> file of weights.

    Returns:
        PNG; None if there is no validation set, or no image is as large as a tile.

    Raises:
        UserError: the validation images or the weights no longer exist.
    """
    if not config.val_sets:
        return None
    phase, options = next(iter(config.val_sets.items()))
    networks = [load(file, device="cpu") for file in weights.values()]
    tiles: list[Tile] = []
    for pair in find_pairs(options, phase)[:IMAGES]:
        hr, lr = load_pair(pair, config.scale)
        tiles += _tiles(pair.name, hr, lr, config.scale, networks)
        tiles = sorted(tiles, key=lambda tile: -tile.spread)[:SHOWN]
    return _drawn(tiles, list(weights)) if tiles else None


def _tiles(name: str, hr: np.ndarray, lr: np.ndarray, scale: int, networks: Sequence[Upscaler]) -> list[Tile]:
    versions = [resize.upscale(lr, scale), *(network.upscale(lr) for network in networks)]
    found = []
    for top in range(0, hr.shape[0] - TILE + 1, TILE):
        for left in range(0, hr.shape[1] - TILE + 1, TILE):
            here = np.s_[top : top + TILE, left : left + TILE]
            small = np.s_[top // scale : (top + TILE) // scale, left // scale : (left + TILE) // scale]
            values = [min(psnr(version[here], hr[here]), 99.0) for version in versions]
            panels = [lr[small], *(version[here] for version in versions), hr[here]]
            found.append(Tile(name, values[-1] - values[0], [panel.copy() for panel in panels], values))
    return found


def _drawn(tiles: list[Tile], names: list[str]) -> bytes:
    rows = []
    for tile in tiles:
        bicubic, *others = tile.values
        gains = [f"{value:.2f} dB ({value - bicubic:+.2f})" for value in others]
        rows.append((tile.panels, [tile.image, f"{bicubic:.2f} dB", *gains, ""]))
    content = io.BytesIO()
    picture = sheet(rows, ["LR", "bicubic", *names, "HR"])
    Image.fromarray(picture).save(content, format="PNG", optimize=True)
    return content.getvalue()
