"""The built-in scores: what they mean, and all of them of one image."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paragonsr.curation.scores.aliasing import aliasing
from paragonsr.curation.scores.blockiness import blockiness
from paragonsr.curation.scores.colour import opponents, saturation
from paragonsr.curation.scores.complexity import complexity, raw_complexity
from paragonsr.curation.scores.haar import haar
from paragonsr.curation.scores.noise import noise
from paragonsr.curation.scores.sharpness import sharpness
from paragonsr.curation.scores.tones import brightness, clipping, contrast, entropy


@dataclass(frozen=True)
class Score:
    """What a value means."""

    name: str
    low: float
    high: float
    """Ends of the range; math.inf where there is none."""
    better: str
    """higher, lower or neither: which tiles teach more, all else equal."""
    about: str
    """One sentence: formula and source."""


_ALL = [
    Score(
        "complexity",
        0,
        1,
        "higher",
        "Bits that multi-scale (Haar) details of luma and colour cost beyond noise, times the root of the tones' "
        "entropy, calibrated so that lossless photographs have the median 0.37 and the 90th percentile 0.55.",
    ),
    Score("brightness", 0, 255, "neither", "Mean luma (0.299 R + 0.587 G + 0.114 B, 8 bits)."),
    Score("contrast", 0, 127.5, "higher", "Standard deviation of the luma."),
    Score("entropy", 0, 8, "higher", "Shannon entropy of the luma's histogram of 256 bins, in bits."),
    Score(
        "sharpness",
        0,
        math.inf,
        "neither",
        "Variance of the luma's 3 x 3 Laplacian (Pech-Pacheco et al. 2000): small where blurred, large where "
        "oversharpened or noisy.",
    ),
    Score(
        "noise",
        0,
        math.inf,
        "lower",
        "Standard deviation of white noise in grey levels, from the diagonal Haar details of the flattest tenth of "
        "the blocks, less texture whose power falls with the square of the frequency.",
    ),
    Score(
        "blockiness",
        0,
        100,
        "lower",
        "Percent of the mean step between pixels that a grid of 8 x 8 blocks adds, wherever it begins (after Wang, "
        "Sheikh and Bovik 2002).",
    ),
    Score(
        "aliasing",
        0,
        1,
        "lower",
        "Amplitude a of the finest octave (Haar), less noise, over a + that of the second finest: up to 1/3 where the "
        "spectrum falls as that of natural images does, 1/2 where it is flat.",
    ),
    Score(
        "saturation",
        0,
        math.inf,
        "neither",
        "Colourfulness of Hasler and Süsstrunk (2003), of means of 4 pixels in every fourth row: 0 grey, 45 average, "
        "above 80 high.",
    ),
    Score("clipping", 0, 1, "lower", "Share of the samples that are 0 or 255, in every fourth row."),
]
SCORES = {score.name: score for score in _ALL}


def score_image(image: NDArray[np.uint8]) -> dict[str, float]:
    """Every built-in score of an image, in the order of SCORES.

    Args:
        image: h x w x 3 uint8 RGB, any size from 1 x 1.

    Returns:
        finite values; the same for the same image.
    """
    image = np.ascontiguousarray(image)
    picture = Image.fromarray(image).convert("L")
    histogram, grey, colours = np.array(picture.histogram()), np.asarray(picture), opponents(image)
    luma = grey.astype(np.int16)
    levels = haar(luma)
    grain, bits = noise(levels), entropy(histogram)
    return {
        "complexity": complexity(raw_complexity(levels, haar(colours, 2), bits, grain)),
        "brightness": brightness(histogram),
        "contrast": contrast(histogram),
        "entropy": bits,
        "sharpness": sharpness(luma),
        "noise": grain,
        "blockiness": blockiness(grey),
        "aliasing": aliasing(levels, grain),
        "saturation": saturation(colours),
        "clipping": clipping(image),
    }
