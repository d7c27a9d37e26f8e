"""The two stages of Real-ESRGAN (Wang et al. 2107.10833) in a straightforward form: NumPy, SciPy and OpenCV.

Reference for the speed of `{type: realesrgan}`: the same ranges, probabilities and order, one image at a time.
"""

import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float32]

KERNELS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")
KERNEL_PROB = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
FILTERS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


def degrade(hr: NDArray[np.uint8], scale: int, random: Generator) -> NDArray[np.uint8]:
    """LR image, h x w x 3 uint8, of an HR image, s h x s w x 3 uint8."""
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    image = hr.astype(np.float32) / 255
    image = cv2.filter2D(image, -1, _blur_kernel(random, (0.2, 3.0)), borderType=cv2.BORDER_REFLECT_101)
    image = _random_resize(image, random, (0.2, 0.7, 0.1), (0.15, 1.5), image.shape[0], image.shape[1])
    image = _noise(image, random, (1, 30), (0.05, 3.0))
    image = _jpeg(image, random)
    if random.uniform() < 0.8:
        image = cv2.filter2D(image, -1, _blur_kernel(random, (0.2, 1.5)), borderType=cv2.BORDER_REFLECT_101)
    image = _random_resize(image, random, (0.3, 0.4, 0.3), (0.3, 1.2), height, width)
    image = _noise(image, random, (1, 25), (0.05, 2.5))
    kernel = None
    if random.uniform() < 0.8:
        kernel = _sinc(int(random.choice(range(7, 22, 2))), random.uniform(math.pi / 3, math.pi))
    if random.uniform() < 0.5:
        image = _jpeg(_last_resize(image, random, height, width, kernel), random)
    else:
        image = _last_resize(_jpeg(image, random), random, height, width, kernel)
    return np.clip((image * 255).round(), 0, 255).astype(np.uint8)


def _last_resize(image: Floats, random: Generator, height: int, width: int, kernel: NDArray | None) -> Floats:
    image = cv2.resize(image, (width, height), interpolation=int(random.choice(FILTERS)))
    return image if kernel is None else cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def _random_resize(
    image: Floats,
    random: Generator,
    prob: tuple[float, float, float],
    ends: tuple[float, float],
    height: int,
    width: int,
) -> Floats:
    direction = random.choice(["up", "down", "keep"], p=prob)
    if direction == "keep":
        return image
    factor = random.uniform(1, ends[1]) if direction == "up" else random.uniform(ends[0], 1)
    size = (max(1, int(width * factor)), max(1, int(height * factor)))
    return cv2.resize(image, size, interpolation=int(random.choice(FILTERS)))


def _noise(image: Floats, random: Generator, sigmas: tuple[float, float], scales: tuple[float, float]) -> Floats:
    gray = random.uniform() < 0.4
    if random.uniform() < 0.5:
        sigma = random.uniform(*sigmas)
        shape = (*image.shape[:2], 1) if gray else image.shape
        noise = random.standard_normal(shape).astype(np.float32) * sigma / 255
    else:
        clean = cv2.cvtColor(np.clip(image, 0, 1), cv2.COLOR_RGB2GRAY)[..., None] if gray else image
        clean = np.clip((clean * 255).round(), 0, 255) / 255
        values = 2 ** np.ceil(np.log2(len(np.unique(clean))))
        noise = (random.poisson(clean * values).astype(np.float32) / float(values) - clean) * random.uniform(*scales)
    return np.clip(image + noise, 0, 1).astype(np.float32)


def _jpeg(image: Floats, random: Generator) -> Floats:
    quality = int(random.uniform(30, 95))
    coded = cv2.imencode(
        ".jpg", np.clip(image * 255, 0, 255).round().astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(np.float32) / 255


def _blur_kernel(random: Generator, sigmas: tuple[float, float]) -> NDArray[np.float64]:
    size = int(random.choice(range(7, 22, 2)))
    if random.uniform() < 0.1:
        return _sinc(size, random.uniform(math.pi / 3 if size < 13 else math.pi / 5, math.pi))
    kind = random.choice(KERNELS, p=KERNEL_PROB)
    sigma_x = sigma_y = random.uniform(*sigmas)
    angle = 0.0
    if kind.endswith("aniso"):
        sigma_y, angle = random.uniform(*sigmas), random.uniform(-math.pi, math.pi)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    inverse = np.linalg.inv(turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T)
    side = np.arange(size) - size // 2
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    q = np.sum((grid @ inverse) * grid, axis=2)
    if kind.startswith("generalized"):
        kernel = np.exp(-0.5 * q ** (random.uniform(0.5, 1) if random.uniform() < 0.5 else random.uniform(1, 4)))
    elif kind.startswith("plateau"):
        kernel = 1 / (1 + q ** random.uniform(1, 2))
    else:
        kernel = np.exp(-0.5 * q)
    return kernel / kernel.sum()


def _sinc(size: int, cutoff: float) -> NDArray[np.float64]:
    side = np.arange(size) - size // 2
    radius = np.hypot(side[:, None], side[None])
    radius[size // 2, size // 2] = 1
    kernel = cutoff * special.j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
    return kernel / kernel.sum()
