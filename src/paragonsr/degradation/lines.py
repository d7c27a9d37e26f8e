"""Weighted sums of image lines: what resizing consists of."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Planes = NDArray[np.float32]

# torch says so once; the one product that is used here is as old as its sparse matrices.
warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)


def weighing(indices: NDArray[np.intp], weights: NDArray[np.float64], length: int) -> "Tensor":
    """Sparse matrix of weighted sums of lines.

    Args:
        indices: new lines x taps, indices of the lines that make up each new line.
        weights: new lines x taps.
        length: number of lines.
    """
    import torch

    count, taps = indices.shape
    return torch.sparse_csr_tensor(
        torch.arange(0, count * taps + 1, taps),
        torch.from_numpy(indices.ravel()),
        torch.from_numpy(weights.astype(np.float32).ravel()),
        size=(count, length),
        check_invariants=False,
    )


def sums_of_rows(image: Planes, weights: "Tensor") -> Planes:
    """Weighted sums of the rows of each plane.

    Args:
        image: planes x h x w.
        weights: sums x h, from `weighing`.

    Returns:
        planes x sums x w.
    """
    import torch

    sums = torch.empty((len(image), len(weights), image.shape[2]))
    with one_thread():
        for plane, result in zip(torch.from_numpy(image), sums, strict=True):
            torch.mm(weights, plane, out=result)
    found: Planes = sums.numpy()
    return found


def sums_of_columns(image: Planes, weights: "Tensor") -> Planes:
    """Weighted sums of the columns of each plane.

    Args:
        image: planes x h x w.
        weights: sums x w, from `weighing`.

    Returns:
        planes x h x sums.
    """
    import torch

    rows = torch.from_numpy(image.reshape(-1, image.shape[2]))
    with one_thread():
        sums: Planes = (weights @ rows.T).T.numpy()
    return np.ascontiguousarray(sums).reshape(*image.shape[:2], -1)


def sums_on_device(image: "Tensor", axis: int, indices: NDArray[np.intp], weights: NDArray[np.float64]) -> "Tensor":
    """Weighted sums of the rows (axis 0) or columns (axis 1) of each plane of a tensor.

    Args:
        image: planes x h x w, on a device.
        axis: 0 or 1.
        indices: sums x taps, indices of the lines that make up each sum.
        weights: sums x taps.

    Returns:
        planes x sums x w, or planes x h x sums.
    """
    from paragonsr.degradation.tensors import upload

    lines, shares = upload(indices, image.device), upload(weights.astype(np.float32), image.device)
    if axis == 0:
        return (image[:, lines] * shares[:, :, None]).sum(2)
    return (image[:, :, lines] * shares).sum(3)


@contextmanager
def one_thread() -> Iterator[None]:
    """Context in which torch uses one CPU thread, because batches are prepared in several threads as it is.

    Threads of several teams on the same cores wait for each other: a copy of 200 000 numbers then takes 7 ms, not 0.1.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
