"""Options of a curation file; `paragonsr data make CONFIG.yml` runs its steps in order."""

from pathlib import PurePath
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from paragonsr.options import Options

SCALES = tuple(n / 20 for n in range(1, 21))
"""Scales at which a photograph can be tiled: both sides become integers after cropping at most 19 pixels."""


class TileOptions(Options):
    """How photographs are tiled."""

    side: int = Field(512, ge=16)
    """Height and width of a tile in pixels."""
    scales: Annotated[list[float], Field(min_length=1)] = Field([1.0])
    """Scales at which each photograph is tiled: 1 is the original, 0.5 half the size by the MATLAB-exact bicubic
    resize."""

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
    """Additional scores, and how they are computed."""

    also: dict[str, str | None] = Field({})
    """Additional scores by name, each with its weights file or null: `arniqa: ~`, `ic9600: weights/ic9600.pth`."""
    batch: int = Field(32, ge=1)
    """Number of tiles per batch for a worker process."""


class SelectOptions(Options):
    """Options for selecting tiles."""

    where: str
    """Expression over the columns of the table: `complexity >= 0.5 and blockiness < 30`."""
    limit: int | None = Field(None, ge=1)
    """Maximum number of tiles; the first in `order` are kept."""
    order: str = "path"
    """`path`, `random:SEED`, a score (ascending), or a score with a minus sign (descending)."""


class Destination(SelectOptions):
    """A selection and the folders for its images. The manifest is written next to the HR folder: `<hr>.jsonl`."""

    hr: str
    """Folder of the HR tiles (hard links, or copies on another disk)."""
    lr: dict[Annotated[int, Field(ge=2)], str] = Field({})
    """Scale -> folder of the LR tiles made from them."""


class ValidationOptions(Destination):
    """Held-out photographs. All tiles of a photograph and of its near-duplicates, at every scale, are on one side."""

    photographs: int = Field(ge=1)
    """Number of photographs to hold out for validation."""
    seed: int = 0
    """Random seed that selects them."""


class CurationOptions(Options):
    """Content of a curation file."""

    photographs: str
    """Folder of the photographs, searched recursively."""
    tiles: str
    """Folder for the tiles."""
    scores: str | None = None
    """SQLite file of the scores; default: next to the folder of tiles, `<tiles>.sqlite`."""
    report: str | None = None
    """HTML report; default: next to the folder of tiles, `<tiles>.html`."""
    tile: TileOptions = TileOptions()
    score: ScoreOptions = ScoreOptions()
    train: Destination
    val: ValidationOptions | None = None
    workers: int | None = Field(None, ge=1)
    """Number of worker processes; default: one per CPU core."""
    scheduler: str | None = None
    """Address of a Dask scheduler, to score on its cluster: `tcp://HOST:8786`."""

    @model_validator(mode="after")
    def _folders_differ(self) -> "CurationOptions":
        places = [self.photographs, self.tiles]
        for chosen in (self.train, *([self.val] if self.val else [])):
            places += [chosen.hr, *chosen.lr.values()]
        for place in places:
            if places.count(place) > 1:
                raise ValueError(f"{place} is used for two purposes; choose a separate folder for each")
            around = next((other for other in places if PurePath(other) in PurePath(place).parents), None)
            if around is not None:
                raise ValueError(f"{place} is inside {around} and would add images to it; choose a separate folder")
        return self
