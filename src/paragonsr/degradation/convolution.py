"""Convolution of an image with a kernel."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from paragonsr.degradation.lines import one_thread
from paragonsr.degradation.step import P, Planes

if TYPE_CHECKING:
    from torch import Tensor

Kernel = NDArray[np.float64]

_SUMS_PER_BLOCK = 32


def convolved(image: P, kernel: Kernel) -> P:
    """Convolve each plane with a kernel; the image is mirrored at its borders, without repeating the border.

    On the host, a kernel that is the product of a column and a row, as an isotropic Gaussian, is applied along one axis
    after the other. Any other one, and all on a device, are applied by FFT.

    Args:
        image: 3 x h x w.
        kernel: k x k, k odd, the same when turned by 180 degrees.

    Returns:
        3 x h x w.
    """
    if not isinstance(image, np.ndarray):
        return _on_device(image, kernel)
    middle = len(kernel) // 2
    row, column = kernel[middle], kernel[:, middle]
    product = column[:, None] * row
    product -= kernel * row[middle]
    if np.abs(product).max() <= 1e-9 * row[middle] ** 2:
        return _along_each_axis(image, column, row / row[middle])
    return _by_fft(image, kernel)


def _along_each_axis(image: Planes, column: NDArray[np.float64], row: NDArray[np.float64]) -> Planes:
    columns_first = _along_last_axis(image, row)
    rows_first = _along_last_axis(columns_first, column)
    return np.ascontiguousarray(rows_first.transpose(2, 0, 1))


def _along_last_axis(image: Planes, weights: NDArray[np.float64]) -> Planes:
    """Convolve along the last axis with a symmetric kernel, and make it the first: a x b x n to n x a x b.

    Neighbouring sums share most of their terms, so that products of small dense matrices are the fastest way.
    """
    import torch

    size, (first, second, length) = len(weights), image.shape
    margin, blocks = size // 2, -(-length // _SUMS_PER_BLOCK)
    padding = margin + blocks * _SUMS_PER_BLOCK - length
    padded = _mirrored(image, (0, 0), (margin, padding))
    window = _SUMS_PER_BLOCK + size - 1
    lines = padded.as_strided((blocks, window, first * second), (_SUMS_PER_BLOCK, 1, padded.shape[2]))
    band = np.zeros((_SUMS_PER_BLOCK, window + 1), np.float32)
    band[:, :size] = weights  # read with rows that are one shorter, each row starts one further to the right
    shifted = torch.from_numpy(band.ravel()[:-_SUMS_PER_BLOCK].reshape(_SUMS_PER_BLOCK, window))
    with one_thread():
        sums: Planes = torch.bmm(shifted.expand(blocks, -1, -1), lines).numpy()
    return sums.reshape(-1, first, second)[:length]


def _by_fft(image: Planes, kernel: Kernel) -> Planes:
    import torch

    height, width = image.shape[1:]
    margin = len(kernel) // 2
    tall, wide = (_fast_length(side + 2 * margin) for side in (height, width))
    margins = (margin, tall - height - margin), (margin, wide - width - margin)
    with one_thread():
        spectrum = torch.fft.rfft2(_mirrored(image, *margins))
        spectrum *= _spectrum(kernel, tall, wide)
        whole: Planes = torch.fft.irfft2(spectrum, s=(tall, wide)).numpy()
    return np.ascontiguousarray(whole[:, margin : margin + height, margin : margin + width])


def _on_device(image: "Tensor", kernel: Kernel) -> "Tensor":
    import torch

    from paragonsr.degradation.tensors import taken, upload

    height, width = image.shape[1:]
    margin = len(kernel) // 2
    # numpy mirrors more than once where the kernel is larger than the image; torch does not.
    rows, columns = (np.pad(np.arange(side), margin, mode="reflect") for side in (height, width))
    size = [_fast_length(side + 2 * margin) for side in (height, width)]
    spectrum = torch.fft.rfft2(taken(image, rows, columns), s=size)
    spectrum *= torch.fft.rfft2(upload(kernel.astype(np.float32), image.device), s=size)
    whole = torch.fft.irfft2(spectrum, s=size)
    # The kernel's centre is at (margin, margin), which moves the result once more; before, it has wrapped around.
    return whole[:, 2 * margin :, 2 * margin :][:, :height, :width].contiguous()


def _mirrored(image: Planes, rows: tuple[int, int], columns: tuple[int, int]) -> "Tensor":
    """Planes with rows and columns added before and after, mirrored without repeating the border."""
    import torch

    if max(rows) < image.shape[1] and max(columns) < image.shape[2]:
        return torch.nn.functional.pad(torch.from_numpy(image), (*columns, *rows), mode="reflect")
    return torch.from_numpy(np.pad(image, ((0, 0), rows, columns), mode="reflect"))  # mirrored more than once


def _spectrum(kernel: Kernel, tall: int, wide: int) -> "Tensor":
    """Discrete Fourier transform of a kernel around position 0: tall x (wide / 2 + 1), real because of its symmetry.

    It is the sum of k cos(a + b) = k (cos a cos b - sin a sin b), with a and b the phases along y and x.
    """
    import torch

    size = len(kernel)
    across = torch.from_numpy(kernel.astype(np.float32)) @ _waves(size, wide)[..., : wide // 2 + 1]
    across[1] *= -1
    down = _waves(size, tall).view(2 * size, tall)
    return down.T @ across.view(2 * size, -1)


@lru_cache(maxsize=256)
def _waves(size: int, length: int) -> "Tensor":
    """Cosines and sines of the phases of `size` positions around 0 at all frequencies: 2 x size x length."""
    import torch

    positions = np.arange(size) - size // 2
    phases = positions[:, None] * np.arange(length) % length * (2 * np.pi / length)
    return torch.from_numpy(np.stack([np.cos(phases), np.sin(phases)]).astype(np.float32))


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
