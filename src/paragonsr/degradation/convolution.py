"""Convolution of an image with a kernel."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from paragonsr.degradation.lines import one_thread, weighing, weighted_sums
from paragonsr.degradation.step import Planes

if TYPE_CHECKING:
    from torch import Tensor

Kernel = NDArray[np.float64]


def convolved(image: Planes, kernel: Kernel) -> Planes:
    """Convolve each plane with a kernel; the image is mirrored at its borders, without repeating the border.

    A kernel that is the product of a column and a row, as an isotropic Gaussian, is applied along one axis after the
    other, and any other one by FFT.

    Args:
        image: 3 x h x w.
        kernel: k x k, k odd.

    Returns:
        3 x h x w.
    """
    middle = len(kernel) // 2
    row, column = kernel[middle], kernel[:, middle]
    if row[middle] and np.allclose(np.outer(column, row), kernel * row[middle], rtol=1e-9, atol=1e-15):
        return _along_each_axis(image, column, row / row[middle])
    return _by_fft(image, kernel)


def _along_each_axis(image: Planes, column: NDArray[np.float64], row: NDArray[np.float64]) -> Planes:
    rows = weighted_sums(image.transpose(1, 0, 2), _band(image.shape[1], column))
    columns = weighted_sums(rows.transpose(2, 1, 0), _band(image.shape[2], row))
    return np.ascontiguousarray(columns.transpose(1, 2, 0))


def _band(length: int, weights: NDArray[np.float64]) -> "Tensor":
    """Matrix that convolves mirrored lines."""
    margin = len(weights) // 2
    mirrored = np.pad(np.arange(length), margin, mode="reflect")
    indices = np.lib.stride_tricks.sliding_window_view(mirrored, len(weights))
    return weighing(indices, np.tile(weights[::-1], (length, 1)), length)


def _by_fft(image: Planes, kernel: Kernel) -> Planes:
    import torch

    height, width = image.shape[1:]
    margin = len(kernel) // 2
    padded = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
    sides = [_fast_length(side) for side in padded.shape[1:]]
    with one_thread():
        spectrum = torch.fft.rfft2(torch.from_numpy(padded), s=sides)
        down, across = (_waves(len(kernel), side) for side in sides)
        spectrum *= down @ torch.from_numpy(kernel).to(torch.complex64) @ across[: sides[1] // 2 + 1].T
        whole: Planes = torch.fft.irfft2(spectrum, s=sides).numpy()
    return np.ascontiguousarray(whole[:, margin : margin + height, margin : margin + width])


@lru_cache(maxsize=256)
def _waves(size: int, length: int) -> "Tensor":
    """Discrete Fourier transform of `size` values around position 0 of `length`: length x size, complex64."""
    import torch

    positions = np.arange(size) - size // 2
    turns = np.arange(length)[:, None] * positions % length / length
    return torch.from_numpy(np.exp(-2j * np.pi * turns).astype(np.complex64))


def _fast_length(least: int) -> int:
    """Smallest even length that has no prime factors above 5."""
    length = least + least % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2
