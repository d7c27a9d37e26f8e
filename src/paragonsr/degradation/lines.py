"""Weighted sums of image lines: what resizing and separable blur consist of."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Lines = NDArray[np.float32]

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


def weighted_sums(image: Lines, weights: "Tensor") -> Lines:
    """Sums along the first axis.

    Args:
        image: lines x ... of any shape.
        weights: from `weighing`.

    Returns:
        new lines x ..., contiguous.
    """
    import torch

    lines = np.ascontiguousarray(image).reshape(len(image), -1)
    with one_thread():
        sums: Lines = (weights @ torch.from_numpy(lines)).numpy()
    return sums.reshape(-1, *image.shape[1:])


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
