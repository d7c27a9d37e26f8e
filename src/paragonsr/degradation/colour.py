"""Colour spaces: luma, Y'CbCr of BT.601, and linear light of sRGB."""

import numpy as np

from paragonsr.degradation.step import P, Planes

_WEIGHTS = (0.299, 0.587, 0.114)


def luma(image: P) -> P:
    """Y' of BT.601, height x width, in levels."""
    red, green, blue = _WEIGHTS
    return image[0] * red + image[1] * green + image[2] * blue


def to_ycbcr(image: Planes) -> Planes:
    """Y', Cb, Cr as in JFIF: all in 0 .. 255, grey has Cb = Cr = 128."""
    y = luma(image)
    cb = np.float32(0.5 / (1 - _WEIGHTS[2])) * (image[2] - y) + np.float32(128)
    cr = np.float32(0.5 / (1 - _WEIGHTS[0])) * (image[0] - y) + np.float32(128)
    return np.stack([y, cb, cr])


def from_ycbcr(planes: Planes) -> Planes:
    """Inverse of `to_ycbcr`."""
    y, cb, cr = planes
    blue = y + np.float32(2 * (1 - _WEIGHTS[2])) * (cb - np.float32(128))
    red = y + np.float32(2 * (1 - _WEIGHTS[0])) * (cr - np.float32(128))
    green = (y - np.float32(_WEIGHTS[0]) * red - np.float32(_WEIGHTS[2]) * blue) / np.float32(_WEIGHTS[1])
    return np.stack([red, green, blue])


def to_linear(image: Planes) -> Planes:
    """Linear light in 0 .. 1 of sRGB levels (IEC 61966-2-1)."""
    v = image / np.float32(255)
    linear: Planes = np.where(v <= 0.04045, v / np.float32(12.92), ((v + np.float32(0.055)) / np.float32(1.055)) ** 2.4)
    return linear.astype(np.float32)


def from_linear(linear: Planes) -> Planes:
    """Inverse of `to_linear`."""
    low, high = linear * np.float32(12.92), np.float32(1.055) * linear ** np.float32(1 / 2.4) - np.float32(0.055)
    v: Planes = np.where(linear <= 0.0031308, low, high)
    return (v * np.float32(255)).astype(np.float32)
