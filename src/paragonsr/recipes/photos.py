"""Recipe for a folder of photographs: a configuration, and the split into training and held-out photographs."""

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from paragonsr.data.manifest import write_manifest
from paragonsr.data.walk import image_files
from paragonsr.errors import UserError
from paragonsr.files import relative, write_atomically
from paragonsr.models import card, names

Size = Literal["nano", "tiny", "s"]
Scale = Literal[2, 3, 4, 8]
SIZES: tuple[str, ...] = get_args(Size)
SCALES: tuple[int, ...] = get_args(Scale)

HELD_OUT_SHARE = 0.1
"""Share of the photographs held out for validation."""
MOST_HELD_OUT = 16
"""Maximum number of held-out photographs: more make validation slow and its mean hardly more precise."""


@dataclass(frozen=True)
class Recipe:
    """Choices for a training.

    Attributes:
        photos: folder of the photographs, with subfolders.
        scale: upscaling factor.
        size: size of the network.
        time: budget of training: 10min, 6h, 20000it.
    """

    photos: Path
    scale: int = 2
    size: str = "nano"
    time: str = "30min"

    @property
    def name(self) -> str:
        """Name of the run."""
        folder = "".join(c if c.isalnum() or c in "-_." else "_" for c in self.photos.resolve().name).strip(".")
        return f"{self.scale}x_{folder or 'photos'}_{self.size}"

    def write(self, file: Path, command: Sequence[str]) -> None:
        """Write the configuration, and next to it the two lists of photographs that it refers to.

        Args:
            file: the YAML file; replaced if it exists.
            command: the command as typed, for the first line.

        Raises:
            UserError: there are fewer than two photographs, the choice does not exist, or nothing can be written.
        """
        _require(self.size in SIZES, f"unknown size {self.size!r}", "--size", f"Choose one of {', '.join(SIZES)}.")
        scales = ", ".join(map(str, SCALES))
        _require(self.scale in SCALES, f"scale {self.scale} is not supported", "--scale", f"Choose one of {scales}.")
        trained, held_out = _split(self.photos)
        lists = {}
        for phase, photographs in (("train", trained), ("val", held_out)):
            lists[phase] = file.with_name(f"{file.stem}_{phase}.jsonl")
            images = ({"path": name, "bytes": (self.photos / name).stat().st_size} for name in photographs)
            write_manifest(lists[phase], self.photos.resolve(), images, {"held_out": phase == "val"})
        template = _templates().get_template("photos.yml.j2")
        text = template.render(
            size=self.size,
            scale=self.scale,
            start=_start(f"paragonsr2_{self.size}", self.scale),
            time=self.time,
            name=_yaml(self.name),
            command=shlex.join(command),
            file=shlex.quote(str(file)),
            train=_yaml(relative(lists["train"], Path())),
            val=_yaml(relative(lists["val"], Path())),
        )
        write_atomically(file, text.encode())


def _start(network: str, scale: int) -> dict[str, Any] | None:
    """Name and card of the bundled model that a training starts from: of this scale, else of x2; None without one."""
    cards = {name: card(name) for name in names()}
    for wanted in (scale, 2):
        for name, content in cards.items():
            if (content["network"], content["scale"]) == (network, wanted):
                return {"name": name, **content}
    return None


def _split(photos: Path) -> tuple[list[str], list[str]]:
    """Split into training and held-out photographs; it depends only on their names."""
    names = sorted(image_files(photos))
    if len(names) < 2:
        raise UserError(
            "there are no photographs" if not names else "there is only one photograph, but one is held out",
            where=str(photos),
            fix="Give a folder of photographs (PNG, JPEG, TIFF, WebP ...), the more and the sharper the better.",
        )
    shuffled = sorted(names, key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).digest())
    count = min(MOST_HELD_OUT, max(1, round(HELD_OUT_SHARE * len(names))))
    return sorted(shuffled[count:]), sorted(shuffled[:count])


def _require(condition: bool, what: str, where: str, fix: str) -> None:
    if not condition:
        raise UserError(what, where=where, fix=fix)


def _templates() -> Environment:
    return Environment(loader=PackageLoader("paragonsr", "recipes"), undefined=StrictUndefined, trim_blocks=True)


def _yaml(text: str) -> str:
    """Text as a single YAML value."""
    return yaml.safe_dump(text, allow_unicode=True, width=10**6, default_style='"').strip()
