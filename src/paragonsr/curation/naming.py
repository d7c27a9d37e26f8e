"""A tile's name says where it is from: photograph, scale and place, so that a folder of tiles needs no index."""

import re
from dataclasses import dataclass

from paragonsr.data.image_file import ENDINGS

_ENDINGS = "|".join(map(re.escape, sorted(ENDINGS)))
_TILE = re.compile(
    rf"(?P<source>.+(?:{_ENDINGS}))__(?P<scale>[0-9]\.?[0-9]*)_(?P<top>[0-9]+)_(?P<left>[0-9]+)\.png", re.IGNORECASE
)


@dataclass(frozen=True)
class Place:
    """Where the pixels of an image are from."""

    source: str
    """The photograph's path relative to its folder, with `/` and its ending."""
    scale: float
    """Size of the photograph that was cut, 1 being the original."""
    top: int
    left: int
    """Of the tile, in pixels of the scaled photograph."""


def tile_name(place: Place) -> str:
    """Path of a tile relative to the folder of tiles: `holiday/IMG_1.jpg__0.75_512_0.png`.

    The photograph's ending is part of it: `a.jpg` and `a.png` may stand side by side.
    """
    return f"{place.source}__{place.scale:g}_{place.top}_{place.left}.png"


def place_of(path: str) -> Place:
    """What a tile's name says; an image that is not a tile is its own photograph."""
    found = _TILE.fullmatch(path)
    if found is None:
        return Place(path, 1.0, 0, 0)
    return Place(found["source"], float(found["scale"]), int(found["top"]), int(found["left"]))
