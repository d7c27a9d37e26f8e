"""Weighted sums of image lines: what resizing and separable blur consist of."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

Lines = NDArray[np.float32]

# torch says so once; the one product that is used here is as old as its sparse matrices.
warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)


def weighted_sums(image: Lines, indices: NDArray[np.intp], weights: NDArray[np.float64]) -> Lines:
    """Sums along the first axis, as a product with a sparse matrix.

    Args:
        image: lines x ... of any shape.
        indices: new lines x taps, indices of the lines that make up each new line.
        weights: new lines x taps.

    Returns:
        new lines x ..., contiguous.
    """
    import torch

    count, taps = indices.shape
    lines = np.ascontiguousarray(image).reshape(len(image), -1)
    with one_thread():
        matrix = torch.sparse_csr_tensor(
            torch.arange(0, count * taps + 1, taps),
            torch.from_numpy(indices.ravel()),
            torch.from_numpy(weights.astype(np.float32).ravel()),
            size=(count, len(lines)),
            check_invariants=False,
        )
        sums: Lines = (matrix @ torch.from_numpy(lines)).numpy()
    return sums.reshape(count, *image.shape[1:])


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
