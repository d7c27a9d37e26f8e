"""Estimates of parameters from traits: kernel ridge regression on simulations."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_LINEAR = 0.3
"""Weight of the linear kernel beside the Gaussian one."""
_FARTHEST = 5.0
"""Standardised traits are clipped to this magnitude."""


@dataclass(frozen=True)
class Estimator:
    """Maps traits to estimates of parameters.

    Attributes:
        explained: share of each parameter's variance that is explained on left out simulations.
        left_out: estimates of the simulations, each from all others.
    """

    mean: Floats
    deviation: Floats
    points: Floats
    coefficients: Floats
    offset: Floats
    explained: Floats
    left_out: Floats

    def __call__(self, traits: Floats) -> Floats:
        """Estimates, N x parameters."""
        found: Floats = _kernel(self._standardised(traits), self.points) @ self.coefficients + self.offset
        return found

    def _standardised(self, traits: Floats) -> Floats:
        return np.clip((traits - self.mean) / self.deviation, -_FARTHEST, _FARTHEST)


def fit_estimator(traits: Floats, parameters: Floats) -> Estimator:
    """Fit an estimator; the penalty of each parameter is the one with the least leave-one-out error.

    Args:
        traits: N x traits.
        parameters: N x parameters.
    """
    mean, deviation = traits.mean(axis=0), traits.std(axis=0) + 1e-6
    points = np.clip((traits - mean) / deviation, -_FARTHEST, _FARTHEST)
    offset = parameters.mean(axis=0)
    centred = parameters - offset
    eigenvalues, vectors = np.linalg.eigh(_kernel(points, points))
    turned = vectors.T @ centred
    best = np.full(parameters.shape[1], np.inf)
    coefficients, left_out = np.zeros_like(centred), np.zeros_like(centred)
    for penalty in _PENALTIES:
        inverse = 1 / (np.maximum(eigenvalues, 0) + penalty)
        solved = vectors @ (inverse[:, None] * turned)
        diagonal = (vectors**2) @ inverse
        errors = solved / diagonal[:, None]
        error = (errors**2).mean(axis=0)
        better = error < best
        best = np.where(better, error, best)
        coefficients[:, better] = solved[:, better]
        left_out[:, better] = (centred - errors)[:, better]
    variance = centred.var(axis=0)
    explained = np.where(variance > 0, 1 - best / np.maximum(variance, 1e-12), 0.0)
    return Estimator(mean, deviation, points, coefficients, offset, explained, left_out + offset)


def _kernel(one: Floats, other: Floats) -> Floats:
    width = one.shape[1]
    products = one @ other.T
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * products
    found: Floats = np.exp(-squares / (3 * width)) + _LINEAR * products / width
    return found
