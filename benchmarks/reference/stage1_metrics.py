"""Scores of an earlier curation script in straightforward NumPy, as a reference for speed.

The grey image has 8 bits, 0.299 R + 0.587 G + 0.114 B. One defect is kept because it is part of the timing: blockiness
subtracts uint8, so differences wrap modulo 256.
"""

import numpy as np
from numpy.typing import NDArray


def stage1_metrics(image: NDArray[np.uint8]) -> dict[str, float]:
    """All five scores of an h x w x 3 uint8 RGB image."""
    grey = (0.299 * image[..., 0] + 0.587 * image[..., 1] + 0.114 * image[..., 2]).round().astype(np.uint8)
    return {
        "entropy": entropy(grey),
        "contrast": float(grey.std()),
        "oversharpen": laplacian_variance(grey),
        "blockiness": blockiness(grey),
        "aliasing": aliasing(grey),
    }


def entropy(grey: NDArray[np.uint8]) -> float:
    """Shannon entropy of the histogram of 256 bins, in bits."""
    counts, _ = np.histogram(grey, bins=256, range=(0, 256))
    shares = counts[counts > 0] / grey.size
    return float(-(shares * np.log2(shares)).sum())


def laplacian_variance(grey: NDArray[np.uint8]) -> float:
    """Variance of the 3 x 3 Laplacian, borders mirrored."""
    y = np.pad(grey.astype(np.float64), 1, mode="reflect")
    return float((y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:] - 4 * y[1:-1, 1:-1]).var())


def blockiness(grey: NDArray[np.uint8]) -> float:
    """Absolute differences across rows and columns at multiples of 8, their sum over the number of pixels."""
    rows = np.abs(grey[8::8] - grey[7:-1:8]).sum()
    columns = np.abs(grey[:, 8::8] - grey[:, 7:-1:8]).sum()
    return float(rows + columns) / grey.size


def aliasing(grey: NDArray[np.uint8]) -> float:
    """Mean magnitude of the frequencies outside a radius of 0.75 of the half side, over the mean of all."""
    magnitude = np.abs(np.fft.fftshift(np.fft.fft2(grey)))
    height, width = grey.shape
    y, x = np.ogrid[:height, :width]
    radius = np.sqrt((y - height // 2) ** 2 + (x - width // 2) ** 2)
    return float(magnitude[radius > 0.75 * min(height // 2, width // 2)].mean() / magnitude.mean())
