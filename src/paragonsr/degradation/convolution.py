"""Convolution of an image with a kernel."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from paragonsr.degradation.step import Planes


def convolved(image: Planes, kernel: NDArray[np.float64]) -> Planes:
    """Convolve each plane with a kernel, by FFT; the image is mirrored at its borders, without repeating the border.

    Args:
        image: 3 x h x w.
        kernel: k x k, k odd.

    Returns:
        3 x h x w.
    """
    import torch

    height, width = image.shape[1:]
    size = len(kernel)
    margin = size // 2
    padded = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
    sides = [_fast_length(side) for side in padded.shape[1:]]
    with _one_thread():
        spectrum = torch.fft.rfft2(torch.from_numpy(padded), s=sides)
        spectrum *= torch.fft.rfft2(torch.from_numpy(kernel.astype(np.float32)), s=sides)
        whole = torch.fft.irfft2(spectrum, s=sides)
    result: Planes = whole[:, size - 1 : size - 1 + height, size - 1 : size - 1 + width].contiguous().numpy()
    return result


@contextmanager
def _one_thread() -> Iterator[None]:
    """Context in which torch uses one CPU thread: batches are prepared in several threads as it is."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
