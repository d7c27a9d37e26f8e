"""The keys of a curation file: `paragonsr data make CONFIG.yml` runs its steps in order."""

from pathlib import PurePath
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from paragonsr.options import Options

SCALES = tuple(n / 20 for n in range(1, 21))
"""Sizes in which a photograph can be cut: both its sides are then whole after at most 19 pixels are cropped."""


class TileOptions(Options):
    """How photographs are cut."""

    side: int = Field(512, ge=16)
    """Height and width of a tile in pixels."""
    scales: Annotated[list[float], Field(min_length=1)] = Field([1.0])
    """Sizes in which each photograph is cut: 1 as it is, 0.5 reduced to half by the MATLAB-exact bicubic resize."""

    @field_validator("scales", mode="before")
    @classmethod
    def _numbers(cls, scales: object) -> object:
        return [float(s) if type(s) is int else s for s in scales] if isinstance(scales, list) else scales

    @field_validator("scales")
    @classmethod
    def _within_bounds(cls, scales: list[float]) -> list[float]:
        for scale in scales:
            if scale not in SCALES:
                raise ValueError(f"a scale is 1, 0.95, 0.9, ... 0.05, not {scale:g}")
        if len(set(scales)) < len(scales):
            raise ValueError("duplicate scale")
        return scales


class ScoreOptions(Options):
    """Which scores a tile gets beside the built-in ones, and who computes them."""

    also: dict[str, str | None] = Field({})
    """Further scores by name, each with its weights file or null: `arniqa: ~`, `ic9600: weights/ic9600.pth`."""
    batch: int = Field(32, ge=1)
    """Tiles that a worker process is handed at once."""


class SelectOptions(Options):
    """Which tiles are kept."""

    where: str
    """An expression over the columns of the table: `complexity >= 0.5 and blockiness < 30`."""
    limit: int | None = Field(None, ge=1)
    """At most so many tiles, the first in `order`."""
    order: str = "path"
    """`path`, `random:SEED`, a score (least first) or a score with a minus before it (greatest first)."""


class Destination(SelectOptions):
    """A selection and where its images go. The manifest is written beside the HR folder: `<hr>.jsonl`."""

    hr: str
    """Folder of the HR tiles (hard links, or copies on another disk)."""
    lr: dict[Annotated[int, Field(ge=2)], str] = Field({})
    """Scale -> folder of the LR tiles made from them."""


class ValidationOptions(Destination):
    """What is held out. All tiles of a photograph, at every scale, and of its near-duplicates are on one side."""

    photographs: int = Field(ge=1)
    """Photographs held out for validation."""
    seed: int = 0
    """Chooses them."""


class CurationOptions(Options):
    """A curation file."""

    photographs: str
    """Folder of the photographs, searched with all its subfolders."""
    tiles: str
    """Folder for the tiles."""
    scores: str | None = None
    """SQLite file of the scores; default beside the folder of tiles: `<tiles>.sqlite`."""
    report: str | None = None
    """The HTML page; default beside the folder of tiles: `<tiles>.html`."""
    tile: TileOptions = TileOptions()
    score: ScoreOptions = ScoreOptions()
    train: Destination
    val: ValidationOptions | None = None
    workers: int | None = Field(None, ge=1)
    """Worker processes; default one for each processor core."""
    scheduler: str | None = None
    """Address of a Dask scheduler that scores instead: `tcp://HOST:8786`."""

    @model_validator(mode="after")
    def _folders_differ(self) -> "CurationOptions":
        places = [self.photographs, self.tiles]
        for chosen in (self.train, *([self.val] if self.val else [])):
            places += [chosen.hr, *chosen.lr.values()]
        for place in places:
            if places.count(place) > 1:
                raise ValueError(f"{place} is named for two purposes; each folder serves one")
            around = next((other for other in places if PurePath(other) in PurePath(place).parents), None)
            if around is not None:
                raise ValueError(f"{place} lies in {around}, whose images it would add to; give it a folder of its own")
        return self
