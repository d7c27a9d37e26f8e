"""Traits of a crop: numbers that tell how an image was blurred, sharpened, disturbed and compressed.

Traits are measured on crops of one size, whose top left corner lies on a multiple of 16 pixels, so that the blocks of a
codec that saw the whole image begin at the crop's corner.
"""

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from paragonsr.calibration.jpeg_traces import NEUTRAL_QUALITY, jpeg_traces
from paragonsr.curation.scores.blockiness import blockiness
from paragonsr.degradation.base import Image
from paragonsr.degradation.colour import to_ycbcr
from paragonsr.degradation.step import to_planes

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

SIDE = 128
"""Side of a crop in pixels."""
_BANDS = (0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.71)
"""Limits of the bands of spatial frequency, in cycles per pixel."""
_BLOCK = 8
_FLATTEST = 0.1
"""Share of the blocks, those with the least detail, in which noise is measured."""
_DARK, _BRIGHT = 85, 170
"""Limits between dark, middle and bright blocks, in levels."""
_CLIPPED = (12, 243)
"""Blocks with a mean outside these levels are ignored: clipping hides their noise."""
_FEWEST_BLOCKS = 6
"""Blocks of a brightness without which its noise counts as that of all blocks."""
_STRONGEST = 0.01
"""Share of the pixels, those with the largest gradient, that count as edges."""


@dataclass(frozen=True)
class Trait:
    """Description of a trait."""

    name: str
    about: str
    unit: str = ""


TRAITS = (
    *(
        Trait(f"spectrum {low:g}-{high:g}", f"power of the luma from {low:g} to {high:g} cycles/pixel", "log10")
        for low, high in itertools.pairwise(_BANDS)
    ),
    Trait("cut-off", "frequency at which the power is a tenth of that of a natural spectrum", "cycles/pixel"),
    Trait("edge sharpness", "share of an edge's step that lies between two pixels"),
    Trait("overshoot", "how far strong edges overshoot: halos of sharpening, ringing", "share of the step"),
    Trait("noise", "noise of the luma in flat areas", "levels"),
    Trait("noise in dark areas", "the same where the image is dark", "levels"),
    Trait("noise in bright areas", "the same where the image is bright", "levels"),
    Trait("noise of chroma", "noise of Cb and Cr in flat areas", "levels"),
    Trait("noise grain", "noise of means over 2 x 2 pixels, relative to that of pixels: 0.5 for white noise"),
    Trait("noise correlation", "correlation of the noise in R, G and B: 1 for grey noise"),
    Trait("blockiness", "share of the steps between pixels due to a grid of 8, at any offset", "percent"),
    Trait("blockiness at the corner", "excess of the steps on the grid that begins at the corner", "percent"),
    Trait("JPEG quality", f"quality whose quantisation the luma's blocks fit best; {NEUTRAL_QUALITY} if none"),
    Trait("JPEG fit", "how well they fit it, from 0 to 1"),
    Trait("empty coefficients", "share of the high DCT coefficients of the luma that are 0"),
    Trait("empty chroma coefficients", "the same of Cb and Cr"),
    Trait("chroma detail", "power of the finest detail of Cb and Cr, relative to that of the luma", "log10"),
    Trait("chroma blocks", "how equal neighbouring chroma samples are within pairs, relative to between them"),
    Trait("levels", "share of the levels between the darkest and the brightest that occur"),
)
"""All traits, in the order of `measure`."""
NAMES = tuple(trait.name for trait in TRAITS)


def measure(crop: Image) -> Floats:
    """Measure all traits.

    Args:
        crop: SIDE x SIDE x 3 uint8 RGB.

    Returns:
        a number for each of TRAITS.
    """
    planes = to_planes(crop)
    ycbcr = to_ycbcr(planes)
    luma, chroma = ycbcr[0], ycbcr[1:]
    spectrum = _spectrum(luma)
    traces = jpeg_traces(ycbcr)
    grey = np.clip(np.rint(luma), 0, 255).astype(np.uint8)
    values = [
        *spectrum,
        _cutoff(spectrum),
        *_edges(luma),
        *_noise(planes, luma, chroma),
        blockiness(grey),
        _grid_excess(luma),
        traces.quality,
        traces.fit,
        traces.empty,
        traces.empty_chroma,
        *_chroma(luma, chroma),
        _levels(crop),
    ]
    return np.array(values, np.float64)


def _spectrum(luma: Plane) -> Floats:
    """Logarithm of the mean power in each band."""
    window, bands, counts = _windowed()
    power = np.abs(np.fft.rfft2((luma - luma.mean()) * window)) ** 2
    sums = np.bincount(bands.ravel(), power.ravel(), len(_BANDS) + 1)[1:-1]
    found: Floats = np.log10(sums / counts + 1e-3)
    return found


@lru_cache(maxsize=1)
def _windowed() -> tuple[Plane, NDArray[np.intp], Floats]:
    """Hann window of mean square 1 / SIDE^2, the band of each frequency, and the number of frequencies in each."""
    hann = np.hanning(SIDE + 1)[:-1]
    window = np.outer(hann, hann)
    window /= np.sqrt((window**2).sum())
    radius = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    bands = np.digitize(radius, _BANDS)
    counts = np.bincount(bands.ravel(), minlength=len(_BANDS) + 1)[1:-1]
    return window.astype(np.float32), bands, counts.astype(np.float64)


def _cutoff(spectrum: Floats) -> float:
    """First frequency at which the power is a tenth of that of a spectrum that falls with the square of the frequency
    (Field 1987) and has the power of the first two bands; 0.5 if there is none."""
    middles = np.sqrt(np.array(_BANDS[:-1]) * np.array(_BANDS[1:]))
    missing = spectrum + 2 * np.log10(middles)
    missing = missing[:2].mean() - missing
    for i in range(1, len(middles) - 1):
        if missing[i] > 1:
            share = (1 - missing[i - 1]) / (missing[i] - missing[i - 1])
            return float(middles[i - 1] + min(max(share, 0), 1) * (middles[i] - middles[i - 1]))
    return 0.5


def _edges(luma: Plane) -> tuple[float, float]:
    """Sharpness and overshoot of the strongest vertical and horizontal edges."""
    sharpness, overshoot = [], []
    for plane in (luma, luma.T):
        step = plane[:, 7:-6] - plane[:, 6:-7]
        strength = np.abs(plane[:, 9:-4] - plane[:, 4:-9])
        count = max(int(_STRONGEST * strength.size), 1)
        # Only the steepest place of each edge.
        near = [np.abs(plane[:, 7 + k : k - 6] - plane[:, 6 + k : k - 7]) for k in range(-2, 3)]
        steepest = np.abs(step) == np.max(near, axis=0)
        strength = np.where(steepest, strength, 0)
        places = np.argpartition(strength, -count, axis=None)[-count:]
        rows, columns = np.unravel_index(np.sort(places), strength.shape)
        profiles = plane[rows[:, None], columns[:, None] + np.arange(14)]
        sign = np.sign(profiles[:, 7] - profiles[:, 6])[:, None]
        profiles = profiles * sign
        low, high = profiles[:, :3].mean(axis=1), profiles[:, -3:].mean(axis=1)
        whole = np.maximum(high - low, 8)
        sharpness.append((profiles[:, 7] - profiles[:, 6]) / whole)
        peak, dip = profiles[:, 7:11].max(axis=1), profiles[:, 3:7].min(axis=1)
        overshoot.append(((peak - high) + (low - dip)) / (2 * whole))
    return tuple(float(np.median(np.clip(np.concatenate(v), -2, 2))) for v in (sharpness, overshoot))  # type: ignore[return-value]


def _noise(planes: Plane, luma: Plane, chroma: Plane) -> tuple[float, ...]:
    """Noise overall, dark, bright, of chroma, its grain and its correlation."""
    residual = _residual(luma)
    deviation = _block_means(np.abs(residual)) * np.float32(np.sqrt(np.pi / 2))
    mean = _block_means(luma)
    usable = (mean > _CLIPPED[0]) & (mean < _CLIPPED[1])
    if not usable.any():
        usable = np.ones_like(usable)
    everywhere = _low(deviation[usable])

    def where(mask: NDArray[np.bool_]) -> float:
        chosen = deviation[mask & usable]
        return _low(chosen) if chosen.size >= _FEWEST_BLOCKS else everywhere

    flat = usable & (deviation <= np.quantile(deviation[usable], 2 * _FLATTEST))
    pixels = np.repeat(np.repeat(flat, _BLOCK, 0), _BLOCK, 1)
    of_chroma = np.mean([np.abs(_residual(plane)[pixels]).mean() for plane in chroma]) * np.sqrt(np.pi / 2)
    halves = _residual(luma.reshape(SIDE // 2, 2, SIDE // 2, 2).mean(axis=(1, 3)))
    coarse = np.abs(halves[pixels[::2, ::2]]).mean()
    fine = np.abs(residual[pixels]).mean()
    red, green, blue = (_residual(plane)[pixels] for plane in planes)
    grain = float((coarse + 0.1) / (fine + 0.1))
    dark, bright = where(mean < _DARK), where(mean > _BRIGHT)
    return everywhere, dark, bright, float(of_chroma), grain, _correlation(red, green, blue)


def _correlation(red: Plane, green: Plane, blue: Plane) -> float:
    energy = float((red**2).mean() + (green**2).mean() + (blue**2).mean()) / 3
    shared = float((red * green).mean() + (green * blue).mean() + (red * blue).mean()) / 3
    return shared / (energy + 0.1)


def _low(deviations: Plane) -> float:
    return float(np.quantile(deviations, _FLATTEST))


def _residual(plane: Plane) -> Plane:
    """The part of a plane that noise has and smooth areas and straight edges have not; white noise keeps its standard
    deviation (Immerkaer 1996, "Fast noise variance estimation"). The border repeats."""
    edged = np.pad(plane, 1, mode="edge")
    rows = edged[:-2] - 2 * edged[1:-1] + edged[2:]
    return (rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]) / np.float32(6)


def _block_means(plane: Plane) -> Plane:
    count = SIDE // _BLOCK
    means: Plane = plane.reshape(count, _BLOCK, count, _BLOCK).mean(axis=(1, 3))
    return means


def _grid_excess(luma: Plane) -> float:
    """Mean step across the lines of the grid of 8, less that across their neighbours, in percent of the mean step."""
    excess = []
    for plane in (luma, luma.T):
        steps = np.abs(np.diff(plane, axis=1)).mean(axis=0)
        on = steps[7::8]
        beside = (steps[6::8][: len(on)] + steps[8::8][: len(on)]) / 2 if len(steps[8::8]) >= len(on) else steps[6::8]
        excess.append(100 * float((on - beside).mean()) / (float(steps.mean()) + 1))
    return float(np.mean(excess))


def _chroma(luma: Plane, chroma: Plane) -> tuple[float, float]:
    """Relative power of the finest detail of chroma, and how much chroma consists of pairs of equal samples."""

    def finest(plane: Plane) -> float:
        return float((np.diff(plane, axis=0)[:, ::2] ** 2).mean() + (np.diff(plane, axis=1) ** 2).mean())

    detail = np.log10((finest(chroma[0]) + finest(chroma[1]) + 0.02) / (finest(luma) + 0.02))
    within = between = 0.0
    for plane in (*chroma, *(p.T for p in chroma)):
        steps = np.abs(np.diff(plane, axis=1))
        within, between = within + float(steps[:, ::2].mean()), between + float(steps[:, 1::2].mean())
    return float(detail), (between - within) / (between + within + 0.1)


def _levels(crop: Image) -> float:
    shares = []
    for channel in range(3):
        histogram = np.bincount(crop[..., channel].ravel(), minlength=256)
        cumulated = np.cumsum(histogram) / crop[..., 0].size
        low, high = int(np.searchsorted(cumulated, 0.02)), int(np.searchsorted(cumulated, 0.98))
        shares.append(float((histogram[low : high + 1] > 0).mean()))
    return float(np.mean(shares))
