"""Formulas of blur kernels: size x size, centred, with sum 1.

Those of Real-ESRGAN (Wang et al. 2107.10833, section 3.1 and appendix) are functions of q = x' S^-1 x, where x is the
position in pixels and S the covariance with the standard deviations sigma_x and sigma_y, turned by an angle.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Kernel = NDArray[np.float64]


def gaussian(size: int, sigma: tuple[float, float], angle: float = 0.0) -> Kernel:
    """exp(-q / 2)."""
    return _normalised(np.exp(-0.5 * _quadratic(size, sigma, angle)))


def generalised(size: int, sigma: tuple[float, float], angle: float, beta: float) -> Kernel:
    """exp(-q^beta / 2): a Gaussian for beta 1, flatter on top above and more pointed below."""
    return _normalised(np.exp(-0.5 * _quadratic(size, sigma, angle) ** beta))


def plateau(size: int, sigma: tuple[float, float], angle: float, beta: float) -> Kernel:
    """1 / (1 + q^beta)."""
    return _normalised(1 / (1 + _quadratic(size, sigma, angle) ** beta))


def sinc(size: int, cutoff: float) -> Kernel:
    """Circular low-pass filter, which rings: w J1(w r) / (2 pi r), with r the distance from the centre.

    Args:
        size: odd.
        cutoff: w in radians per pixel, at most pi.
    """
    radii, places = _radii(size)
    values = np.full(len(radii), cutoff**2 / (4 * np.pi))
    values[1:] = cutoff * _bessel(cutoff * radii[1:]) / (2 * np.pi * radii[1:])
    return _normalised(values[places])


def motion(length: float, angle: float) -> Kernel:
    """A straight movement at constant speed: a line of one pixel's width, with linear edges.

    Args:
        length: in pixels.
        angle: in radians, from the x axis.
    """
    size = 2 * math.ceil(length / 2) + 1
    y, x = _grid(size)
    along, across = np.abs(x * math.cos(angle) + y * math.sin(angle)), np.abs(y * math.cos(angle) - x * math.sin(angle))
    return _normalised(np.clip(length / 2 + 0.5 - along, 0, 1) * np.clip(1 - across, 0, 1))


def defocus(radius: float) -> Kernel:
    """A lens out of focus: a disc, with linear edges.

    Args:
        radius: in pixels.
    """
    y, x = _grid(2 * math.ceil(radius) + 1)
    return _normalised(np.clip(radius + 0.5 - np.hypot(x, y), 0, 1))


def _normalised(kernel: Kernel) -> Kernel:
    return kernel / kernel.sum()


def _grid(size: int) -> tuple[Kernel, Kernel]:
    side: Kernel = np.arange(size, dtype=np.float64) - (size - 1) / 2
    return side[:, None], side[None, :]


def _quadratic(size: int, sigma: tuple[float, float], angle: float) -> Kernel:
    y, x = _grid(size)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    return (along / sigma[0]) ** 2 + (across / sigma[1]) ** 2


@lru_cache(maxsize=64)
def _radii(size: int) -> tuple[Kernel, NDArray[np.intp]]:
    """All distances from the centre, the smallest (0) first, and the index of that of each pixel."""
    y, x = _grid(size)
    squares, places = np.unique(x**2 + y**2, return_inverse=True)
    return np.sqrt(squares), places.reshape(size, size)


@lru_cache(maxsize=1)
def _sines() -> Kernel:
    """sin at 96 midpoints of 0 .. pi / 2."""
    return np.sin((np.arange(96) + 0.5) * np.pi / 192)


def _bessel(x: Kernel) -> Kernel:
    """J1(x) = 2 / pi times the integral of sin(x sin t) sin t over 0 .. pi / 2 (Abramowitz and Stegun 9.1.20).

    The midpoint rule on a periodic function converges exponentially: with 96 points, the error for x below 300 is that
    of the rounding.
    """
    sines = _sines()
    return np.sin(x[:, None] * sines) @ sines / 96
