"""Images as tensors on a device, for the steps that can work there.

They use FFTs, gathers and sums alone: products of matrices and cuDNN's convolutions may be rounded to TF32, by a
setting of the training.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paragonsr.degradation.base import Image
from paragonsr.degradation.lines import one_thread


@contextmanager
def working(device: torch.device) -> Iterator[None]:
    """Context of a thread that degrades on a device.

    On CUDA, each thread has its own stream. So it waits for its own work only, not for the training's, and its tensors
    must not leave the thread.
    """
    stream = torch.cuda.stream(_stream(device, threading.get_ident())) if device.type == "cuda" else nullcontext()
    with stream, one_thread():
        yield


@lru_cache(maxsize=64)
def _stream(device: torch.device, thread: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def upload(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """Copy an array to a device."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def from_bytes(image: Image, device: torch.device) -> Tensor:
    """Planes on a device, 3 x h x w float32 in levels, of an h x w x 3 uint8 image."""
    return upload(np.ascontiguousarray(image), device).permute(2, 0, 1).float().contiguous()


def to_bytes(planes: Tensor) -> Image:
    """Inverse of `from_bytes`: clipped, and rounded half to even."""
    image: Image = planes.round().clamp_(0, 255).byte().permute(1, 2, 0).contiguous().cpu().numpy()
    return image


def taken(image: Tensor, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Tensor:
    """Pixels of planes in the given rows and columns."""
    return image[:, upload(rows, image.device)[:, None], upload(columns, image.device)]
