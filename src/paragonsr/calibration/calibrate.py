"""Calibration: from a folder of bad images to the pipeline that makes such images from HR images."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paragonsr.calibration.distance import energy_distance
from paragonsr.calibration.images import Folder, Jpeg, files_of, read_folder, read_hr, shrunk_folder
from paragonsr.calibration.kinds import Span, kinds, pipeline
from paragonsr.calibration.matching import Matching, widened
from paragonsr.calibration.refinement import refined
from paragonsr.calibration.simulation import Bank, pooled, simulate
from paragonsr.calibration.traits import TRAITS, measure
from paragonsr.degradation.base import Image
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.pipeline import PipelineOptions
from paragonsr.files import write_atomically

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]

VERSION = 2
"""Of the method; another one gives other results."""
ROUNDS = ((900, 0.02), (500, 0.008), (500, 0.008), (500, 0.006))
"""Simulations of each round, and by how much a kind must bring down the distance."""
CHECKED = 240
"""Simulations of the fitted pipeline that are compared with the folder."""
UNEXPLAINED = 0.4
"""Kolmogorov-Smirnov distance between folder and fitted above which a trait is not explained. With 40 images of 4
crops, chance stays below 0.25."""
_RARE = 0.04
"""Share of the images below which a kind counts as absent."""
_DIVISIONS = 20
"""Divisions of the folder into halves over which the distance of the halves is averaged."""


@dataclass(frozen=True)
class Compared:
    """One trait: quantiles 10%, 50%, 90% of the folder and of the fitted pipeline, and their distance."""

    name: str
    about: str
    unit: str
    measured: tuple[float, float, float]
    fitted: tuple[float, float, float]
    distance: float
    """Kolmogorov-Smirnov: the largest difference of the cumulative distributions, 0 to 1."""


@dataclass(frozen=True)
class Calibration:
    """Result."""

    like: str
    scale: int
    seed: int
    images: int
    crops: int
    formats: dict[str, int]
    spans: dict[str, Span]
    steps: list[dict[str, Any]]
    """Steps of the pipeline; none for clean images."""
    traits: list[Compared]
    distance: float
    """Energy distance between the standardised traits of the folder and of the fitted pipeline."""
    floor: float
    """The same between two halves of the folder, the mean of several divisions."""
    bicubic: float
    """The same between the folder and the bicubic resize of the HR images."""
    jpeg_headers: bool = field(default=False)
    """Whether quality and subsampling are from the files' headers."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.steps

    @property
    def unexplained(self) -> list[Compared]:
        """Traits in which the fitted pipeline differs from the folder."""
        return [trait for trait in self.traits if trait.distance > UNEXPLAINED]

    def options(self) -> PipelineOptions:
        """The pipeline."""
        return PipelineOptions.model_validate({"type": "pipeline", "fitted_to": self.like, "steps": self.steps})

    def values(self) -> dict[str, float]:
        """What the journal holds: size of the folder, distances, and the fitted distributions."""
        found = {"images": float(self.images), "crops": float(self.crops)}
        found |= {"distance": self.distance, "floor": self.floor, "bicubic": self.bicubic}
        for kind in kinds(self.scale):
            span = self.spans[kind.name]
            if span.share:
                found[f"{kind.name}/share"] = span.share
            if span.share and kind.parameter:
                found |= {f"{kind.name}/low": span.low, f"{kind.name}/high": span.high}
        return found


def calibrate(
    like: Path, hr: Sequence[Path], scale: int, seed: int, progress: Progress, cache: Path | None = None
) -> Calibration:
    """Fit a pipeline to a folder; the same files give the same result.

    Args:
        like: folder, or manifest, of bad images.
        hr: folders or manifests of clean HR images; none takes the folder's own images, downscaled.
        scale: HR side / LR side.
        seed: of the simulations.
        progress: called with the number of simulations done and their total.
        cache: folder that keeps results, by the names, sizes and times of all files.

    Raises:
        UserError: there are too few images, or an image cannot be read.
    """
    file = None if cache is None else cache / f"{_key(like, hr, scale, seed)}.json"
    if file is not None and file.exists():
        return _loaded(json.loads(file.read_text(encoding="utf-8")))
    folder = read_folder(like)
    crops = read_hr(hr, scale) if hr else shrunk_folder(like, scale)
    found = _fitted(str(like), folder, crops, scale, seed, progress)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(asdict(found)).encode())
    return found


def _fitted(like: str, folder: Folder, hr: Sequence[Image], scale: int, seed: int, progress: Progress) -> Calibration:
    traits, all_kinds = np.array([measure(crop) for crop in folder.crops]), kinds(scale)
    known = _from_headers(folder.jpegs, folder.images)
    spans = {kind.name: Span(0.35, kind.low, kind.high, dict.fromkeys(kind.flags, 0.5)) for kind in all_kinds} | known
    total, done = sum(count for count, _ in ROUNDS) + 2 * CHECKED, 0
    found: dict[str, Span] = {}
    banks: list[Bank] = []
    drawn: list[tuple[Mapping[str, Span], int]] = []
    for number, (count, worth) in enumerate(ROUNDS):
        banks.append(simulate(hr, spans, scale, count, seed + 1000 * number, _shifted(progress, done, total)))
        drawn.append((spans, count))
        done += count
        matching = Matching(pooled(banks[-2:]), traits, scale)
        if number == 0:
            weights, _, _ = matching.simplest(worth, keep=known)
            found = matching.spans(weights) | known
        else:
            found = refined(matching, drawn[-2:], found, scale, worth, keep=known)
        spans = widened(found, all_kinds, 0.06 if number < 2 else 0.03) | known
    found = {name: _rounded(span) for name, span in found.items()}
    simulated = []
    for number, checked in enumerate((found, {name: Span(0.0, s.low, s.high, s.flags) for name, s in found.items()})):
        fresh = simulate(
            hr, checked, scale, CHECKED, seed + 9000 + number, _shifted(progress, done, total), tilts=(1.0,)
        )
        simulated.append(fresh.traits)
        done += CHECKED
    fitted, bicubic = simulated
    size = np.concatenate([traits, bicubic]).std(axis=0) + 1e-6
    return Calibration(
        like,
        scale,
        seed,
        folder.images,
        len(traits),
        folder.formats,
        found,
        pipeline(found, scale),
        [_compared(i, traits[:, i], fitted[:, i]) for i in range(len(TRAITS))],
        energy_distance(traits / size, fitted / size),
        _floor(traits / size, np.array(folder.owners)),
        energy_distance(traits / size, bicubic / size),
        bool(known),
    )


def _floor(traits: Floats, owners: NDArray[np.intp]) -> float:
    """Mean energy distance between two halves of the images, over several divisions."""
    images, found = len(set(owners.tolist())), []
    for division in range(_DIVISIONS):
        draws = Draws(division)
        order = np.argsort([draws.uniform() for _ in range(images)])
        first = np.isin(owners, np.unique(owners)[order[: images // 2]])
        found.append(energy_distance(traits[first], traits[~first]))
    return float(np.mean(found))


def _from_headers(jpegs: Sequence[Jpeg], images: int) -> dict[str, Span]:
    """Distribution of the last compression where all files are JPEG: read from their headers."""
    if len(jpegs) < images:
        return {}
    low, high = np.quantile([jpeg.quality for jpeg in jpegs], (0.05, 0.95))
    full = float(np.mean([jpeg.subsampling == "444" for jpeg in jpegs]))
    return {"jpeg": Span(1.0, float(low), float(high), {"444": full, "shifted": 0.0})}


def _rounded(span: Span) -> Span:
    """Shares that differ from 0 or 1 by less than can be told are 0 or 1."""

    def near(share: float) -> float:
        return 0.0 if share < _RARE else 1.0 if share > 1 - _RARE else round(share, 3)

    return Span(near(span.share), span.low, span.high, {flag: near(share) for flag, share in span.flags.items()})


def _compared(index: int, folder: Floats, fitted: Floats) -> Compared:
    trait = TRAITS[index]
    points = np.sort(np.concatenate([folder, fitted]))
    below = [np.searchsorted(np.sort(one), points, side="right") / len(one) for one in (folder, fitted)]
    quantiles = [tuple(float(v) for v in np.quantile(one, (0.1, 0.5, 0.9))) for one in (folder, fitted)]
    distance = float(np.abs(below[0] - below[1]).max())
    return Compared(trait.name, trait.about, trait.unit, quantiles[0], quantiles[1], distance)  # type: ignore[arg-type]


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)


def _key(like: Path, hr: Sequence[Path], scale: int, seed: int) -> str:
    files = [[file for root in roots for file in files_of(root)] for roots in ([like], hr)]
    stats = [[(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in some if f.exists()] for some in files]
    return hashlib.sha256(json.dumps([VERSION, scale, seed, *stats]).encode()).hexdigest()[:24]


def _loaded(content: dict[str, Any]) -> Calibration:
    spans = {name: Span(**span) for name, span in content.pop("spans").items()}
    traits = [
        Compared(**trait | {"measured": tuple(trait["measured"]), "fitted": tuple(trait["fitted"])})
        for trait in content.pop("traits")
    ]
    return Calibration(**content, spans=spans, traits=traits)
