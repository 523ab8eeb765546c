"""A convolutional layer as its author wrote it, with the backward pass by hand."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def windows(x: Array, size: int) -> Array:
    """Of images (N, C, H, W) every window: (N, C, H - size + 1, W - size + 1, size, size)."""
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))


def loss(weight: Array, x: Array, target: Array) -> float:
    """Half the mean square of relu(x * weight) - target; weight has shape (out, in, k, k)."""
    y = np.einsum("nchwij,fcij->nfhw", windows(x, weight.shape[-1]), weight)
    return float(0.5 * np.mean((np.maximum(y, 0.0) - target) ** 2))


def gradient(weight: Array, x: Array, target: Array) -> Array:
    """Of `loss` with respect to the weight, kernel by kernel."""
    seen = windows(x, weight.shape[-1])
    y = np.einsum("nchwij,fcij->nfhw", seen, weight)
    dy = (np.maximum(y, 0.0) - target) * (y > 0) / y.size
    dweight = np.zeros_like(weight)
    for out in range(weight.shape[0]):
        for channel in range(weight.shape[1]):
            dweight[out, channel] = np.einsum("nhwij,nhw->ij", seen[:, channel], dy[:, out])
    return dweight
