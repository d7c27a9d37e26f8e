"""How strong the finest details are."""

import numpy as np
from numpy.typing import NDArray


def sharpness(luma: NDArray[np.int16]) -> float:
    """Variance of the 3 x 3 Laplacian [[0 1 0] [1 -4 1] [0 1 0]], from 0 (Pech-Pacheco et al. 2000).

    Args:
        luma: h x w, 0 .. 255; its border and every second row inside are left out. Under 3 pixels a side it is 0.
    """
    if min(luma.shape) < 3:
        return 0.0
    here = luma[1:-1:2]
    laplacian = (luma[:-2:2] + luma[2::2])[:, 1:-1]
    laplacian -= here[:, 1:-1] * np.int16(4)
    laplacian += here[:, :-2]
    laplacian += here[:, 2:]
    values = laplacian.astype(np.float32).ravel()
    return float(values @ values) / values.size - float(values.mean()) ** 2
