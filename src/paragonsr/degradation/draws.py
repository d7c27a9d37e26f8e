"""Random numbers of a step, as a pure function of (seed, sample, step).

Numbers are drawn from splitmix64 (Steele, Lea and Flood 2014), and noise from Philox4x64 (Salmon et al. 2011, "Parallel
random numbers: as easy as 1, 2, 3"), both keyed by a hash of (seed, sample, step). Noise is a table of quantiles that
is indexed by the raw bits, because the streams of raw bits never change between versions of numpy, while those of
numpy's distributions may (NEP 19), and because it is four times as fast.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Name = TypeVar("Name", bound=str)
Floats = NDArray[np.float32]

_WORD = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_COUNTS = 256
"""Number of tabulated means of the Poisson distribution."""
_QUANTILES = 2048
"""Number of tabulated quantiles of each Poisson distribution."""


class Draws:
    """Random numbers of one step on one sample. Each call continues the stream.

    Args:
        seed: any integer; taken modulo 2^64.
        key: sample, then the position of the step, and of the steps that contain it.
    """

    def __init__(self, seed: int, *key: int) -> None:
        state = _mixed(seed & _WORD)
        for part in key:
            state = _mixed(state ^ part)
        self._key = self._state = state
        self._bits: np.random.Philox | None = None
        self._generator: torch.Generator | None = None

    def child(self, index: int) -> "Draws":
        """Random numbers of an inner step; independent of those drawn here."""
        inner = Draws.__new__(Draws)  # the same as Draws(seed, *key, index), whose hashes are not computed again
        inner._key = inner._state = _mixed(self._key ^ index)
        inner._bits = inner._generator = None
        return inner

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Uniform number in low .. high; 53 random bits."""
        self._state = (self._state + _GOLDEN) & _WORD
        return low + (high - low) * ((_mixed(self._state) >> 11) / 2**53)

    def within(self, ends: Sequence[float]) -> float:
        """Uniform number in a range."""
        return self.uniform(ends[0], ends[1])

    def whole(self, ends: Sequence[float], step: int = 1) -> int:
        """Uniform whole number among first, first + step, ..., up to last."""
        first, last = math.ceil(ends[0]), math.floor(ends[1])
        return first + step * int(self.uniform() * ((last - first) // step + 1))

    def log_uniform(self, ends: Sequence[float]) -> float:
        """Number in a range whose logarithm is uniform."""
        return math.exp(self.uniform(math.log(ends[0]), math.log(ends[1])))

    def coin(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform() < probability

    def choice(self, weights: Mapping[Name, float]) -> Name:
        """One of the names, with frequencies in proportion to the weights."""
        point = self.uniform() * sum(weights.values())
        for name, weight in weights.items():
            point -= weight
            if point < 0:
                return name
        return max(weights, key=lambda name: weights[name])

    def normals(self, *shape: int) -> Floats:
        """Standard normal numbers: 65536 equally likely quantiles, with mean 0 and variance 1."""
        # All indices are valid; the mode only spares numpy to check them, which takes as long as the rest.
        return _normal_quantiles().take(self._words(math.prod(shape)), mode="clip").reshape(shape)

    def uniforms(self, *shape: int) -> Floats:
        """Uniform numbers in 0 .. 1, multiples of 2^-16."""
        return (self._words(math.prod(shape)).astype(np.float32) * np.float32(2**-16)).reshape(shape)

    def poisson_deviations(self, means: Floats) -> Floats:
        """Deviations from the mean of Poisson distributed counts.

        The deviation is sqrt(mean) times a standardised Poisson quantile: mean 0 and the variance of a Poisson
        distribution exactly, and its shape from the nearest of 256 tabulated means, (1/16)^2, (2/16)^2, ..., 16^2.

        Args:
            means: expected counts, at least 0, of any shape.
        """
        roots = np.sqrt(means)
        nearest = roots * 16
        nearest += np.float32(0.5)
        places = np.minimum(nearest, _COUNTS, out=nearest).astype(np.int32)
        places *= _QUANTILES
        places += (self._words(means.size) >> 5).reshape(means.shape)
        deviations = _poisson_quantiles().take(places, mode="clip")
        deviations *= roots
        return deviations

    def generator(self, device: "torch.device") -> "torch.Generator":
        """Source of noise on a device, keyed as that on the host; its numbers are others, and depend on the device."""
        import torch

        if self._generator is None:
            self._generator = torch.Generator(device).manual_seed(self._key)
        return self._generator

    def _words(self, count: int) -> NDArray[np.uint16]:
        """Uniform 16-bit numbers."""
        if self._bits is None:
            self._bits = np.random.Philox(key=self._key)
        raw: NDArray[np.uint64] = self._bits.random_raw(-(-count // 4))
        return raw.astype("<u8", copy=False).view("<u2")[:count]


def _mixed(z: int) -> int:
    """Output function of splitmix64, a bijection."""
    z = (z + _GOLDEN) & _WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _WORD
    return z ^ (z >> 31)


@lru_cache(maxsize=1)
def _normal_quantiles() -> Floats:
    of = NormalDist().inv_cdf
    upper = np.array([of(0.5 + (i + 0.5) / 2**16) for i in range(2**15)])
    both = np.concatenate([-upper[::-1], upper])
    return (both / both.std()).astype(np.float32)


@lru_cache(maxsize=1)
def _poisson_quantiles() -> Floats:
    """Standardised quantiles, (counts + 1) x quantiles; row k is for the mean (k / 16)^2, and row 0 like row 1."""
    means = (np.maximum(np.arange(_COUNTS + 1), 1) / 16) ** 2
    counts = np.arange(400)
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(counts[1:]))])
    cumulated = np.cumsum(np.exp(counts * np.log(means[:, None]) - means[:, None] - log_factorials), axis=1)
    points = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    found = np.stack([np.searchsorted(row, points) for row in cumulated]).astype(np.float64)
    # Means so small that no tabulated quantile is above 0: one count in the last quantile.
    found[found.max(axis=1) == 0, -1] = 1
    found -= found.mean(axis=1, keepdims=True)
    table: Floats = (found / found.std(axis=1, keepdims=True)).astype(np.float32).ravel()
    return table
