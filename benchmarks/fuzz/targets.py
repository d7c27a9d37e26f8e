"""Targets of fuzzing: valid inputs, how they are damaged, and checks of what a reader returns."""

import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.fuzz.mutate import damaged, damaged_text
from PIL import Image

from paragonsr.archs.classic_options import NanoOptions
from paragonsr.archs.weights import load_network, save_metadata, save_weights
from paragonsr.config import load_config
from paragonsr.data.images import image_size, read_image
from paragonsr.data.manifest import image_paths, write_manifest
from paragonsr.training.checkpoint.files import read_state, write_state


@dataclass(frozen=True)
class Target:
    """One kind of input."""

    name: str
    count: int
    suffix: str
    seeds: list[bytes]
    """Valid inputs."""
    damage: Callable[[bytes, random.Random], bytes]
    read: Callable[[Path, bytes], str]
    """Reads a file made from a valid input; returns what is wrong with the result, or an empty string.

    Raises:
        UserError: the file is refused, which is correct.
    """


def targets(folder: Path) -> list[Target]:
    """All targets; the files that they need are created in the folder."""
    return [_images(), _yaml(), _manifests(folder), _weights(folder), _states(folder)]


def _text(data: bytes, dice: random.Random) -> bytes:
    return damaged_text(data.decode("utf-8"), dice).encode("utf-8", "surrogatepass")


def _images() -> Target:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    pixels[4:20, 4:16] = np.linspace(0, 255, 12, dtype=np.uint8)[None, :, None]
    seeds = []
    for kind, options in (
        ("PNG", {}),
        ("JPEG", {"quality": 90}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 80}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {}),
        ("BMP", {}),
    ):
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, kind, **options)
        seeds.append(content.getvalue())

    def read(path: Path, seed: bytes) -> str:
        del seed
        image = read_image(path)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            return f"{image.dtype} {image.shape}"
        return "" if image.shape[:2] == image_size(path) else "its size is not that of its header"

    return Target("images", 2000, ".png", seeds, damaged, read)


def _yaml() -> Target:
    files = sorted(Path("options/train").rglob("*.yml"))

    def read(path: Path, seed: bytes) -> str:
        del seed
        loaded = load_config(path)
        json.dumps(loaded.config.model_dump(mode="json"))
        return ""

    return Target("YAML files", 2000, ".yml", [file.read_bytes() for file in files], _text, read)


def _manifests(folder: Path) -> Target:
    root = folder / "hr"
    root.mkdir()
    images: list[dict[str, Any]] = []
    for name in ("a.png", "b.png", "deep ü.png"):
        (root / name).write_bytes(b"12345")
        images.append({"path": name, "bytes": 5, "digest": "00", "complexity": 0.5})
    write_manifest(folder / "m.jsonl", root, images, {"where": "complexity >= 0.5"})

    def read(path: Path, seed: bytes) -> str:
        found = {file.resolve() for file in image_paths(path)}
        if found <= {(root / str(image["path"])).resolve() for image in images}:
            return ""
        return f"leads to {found} (from {len(seed)} bytes)"

    def damage(data: bytes, dice: random.Random) -> bytes:
        return _text(data, dice) if dice.random() < 0.5 else damaged(data, dice)

    return Target("manifests", 1000, ".jsonl", [(folder / "m.jsonl").read_bytes()], damage, read)


def _weights(folder: Path) -> Target:
    options = NanoOptions(num_feat=4, num_blocks=1)
    network = options.build(scale=2)
    save_weights(folder / "w.safetensors", network.state_dict(), save_metadata(options, 2))
    expected = network.state_dict()

    def read(path: Path, seed: bytes) -> str:
        del seed
        found = load_network(path).state_dict()
        same = found.keys() == expected.keys() and all(torch.equal(found[k], expected[k]) for k in expected)
        return "" if same else "other tensors than were saved"

    return Target("weights", 1000, ".safetensors", [(folder / "w.safetensors").read_bytes()], damaged, read)


def _states(folder: Path) -> Target:
    tensors = {"a": torch.arange(40.0), "b": torch.arange(9)}
    rest = {"iteration": 7, "positions": {"journal.jsonl": 3}}
    write_state(folder / "7.state", tensors, rest)

    def read(path: Path, seed: bytes) -> str:
        del seed
        found, other = read_state(path)
        other.pop("digest")
        same = found.keys() == tensors.keys() and all(torch.equal(found[k], tensors[k]) for k in tensors)
        return "" if same and other == rest else "another state than was saved"

    return Target("resume states", 400, ".state", [(folder / "7.state").read_bytes()], damaged, read)
