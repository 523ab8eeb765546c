"""The layers of a small convolutional network, each with its backward pass by hand.

Images come last: an activation has shape (C, H, W, N) for C channels of H x W places in N
images, and (F, N) for F features. So a convolution is one matrix product, its bias is added to
rows, and flattening is a reshape.

Forward passes also take leading axes on parameters and activations, written ``...``: so many
networks evaluated at once. Backward passes take one network. No layer keeps state between the
two: what backward needs from forward is returned and handed back.
"""

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Array",
    "Conv2d",
    "Dropout",
    "DropoutMode",
    "Flatten",
    "Labels",
    "Layer",
    "Linear",
    "MaxPool",
    "Parameters",
    "ReLU",
    "SoftmaxCrossEntropy",
    "Tensors",
    "WeightDecay",
    "correlate",
    "cut_patches",
    "split_windows",
]

Array: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int64]
Tensors: TypeAlias = dict[str, Array]
Parameters: TypeAlias = dict[str, Tensors]
DropoutMode: TypeAlias = Literal["fixed", "off", "unseeded"]


class Layer(ABC):
    """A differentiable function of an activation ``x`` and of the layer's own tensors."""

    @abstractmethod
    def forward(self, x: Array, own: Tensors) -> tuple[Array, Array]:
        """Return the output ``y`` and the array that `backward` wants to see again."""

    @abstractmethod
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        """Return the loss's gradient in ``x`` and in each of ``own``, given ``dy``, that in ``y``.

        ``memory`` is the second value that `forward` returned.
        """


class Conv2d(Layer):
    """3 x 3 cross-correlation with zeros around the image, so that H x W stays H x W.

    Tensors: weight (K, C, 3, 3) and bias (K,) take C channels to K.
    """

    def forward(self, x: Array, own: Tensors) -> tuple[Array, Array]:
        """Take x (..., C, H, W, N) to y (..., K, H, W, N); remember x's patches."""
        patches = cut_patches(x)
        y = correlate(own["weight"], patches)
        y += own["bias"][..., np.newaxis]
        return y.reshape(*y.shape[:-1], *x.shape[-3:]), patches

    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        """Take dy (K, H, W, N) to dx (C, H, W, N).

        A pixel reaches the output one place to its right through the kernel's left column, and
        so on all around; so dx is dy seen through kernels turned by half a turn.
        """
        weight = own["weight"]
        rows = dy.reshape(len(dy), -1)
        gradients = {
            "weight": (rows @ memory.T).reshape(weight.shape),
            "bias": rows.sum(axis=1),
        }
        turned = np.flip(weight, axis=(2, 3)).swapaxes(0, 1)
        dx = correlate(turned, cut_patches(dy))
        return dx.reshape(-1, *dy.shape[1:]), gradients


class Linear(Layer):
    """y = weight x + bias, with weight (outputs, inputs) and bias (outputs,)."""

    def forward(self, x: Array, own: Tensors) -> tuple[Array, Array]:
        """Take x (..., inputs, N) to y (..., outputs, N); remember x."""
        return own["weight"] @ x + own["bias"][..., np.newaxis], x

    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        """Take dy (outputs, N) to dx (inputs, N)."""
        return own["weight"].T @ dy, {"weight": dy @ memory.T, "bias": dy.sum(axis=1)}


class ReLU(Layer):
    """y = max(x, 0), with slope 0 at the kink."""

    def forward(self, x: Array, own: Tensors) -> tuple[Array, Array]:
        """Keep the shape; remember x."""
        return np.maximum(x, 0.0), x

    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        """Let dy through where x was positive."""
        return dy * (memory > 0.0), {}


class MaxPool(Layer):
    """The largest value of each 2 x 2 window.

    Of equal values the first, row by row, is the winner. Where they are equal because the
    patches under them are, any one winner gives the exact gradient, and two would double it.
    """

    def forward(self, x: Array, own: Tensors) -> tuple[Array, Array]:
        """Take x (..., C, H, W, N) to y (..., C, H/2, W/2, N); remember x."""
        a, b, c, d = split_windows(x)
        return np.maximum(np.maximum(a, b), np.maximum(c, d)), x

    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        """Send each entry of dy to the place of its window's winner."""
        winner = np.argmax(split_windows(memory), axis=0)
        dx = np.zeros_like(memory)
        for corner, view in enumerate(split_windows(dx)):
            view[...] = np.where(winner == corner, dy, 0.0)
        return dx, {}


class Flatten(Layer):
    """The (C, H, W) values of an image as one column of C * H * W features."""

    def forward(self, x: Array, own: Tensors) -> tuple[Array, Array]:
        """Take x (..., C, H, W, N) to y (..., C * H * W, N); remember x for its shape."""
        return x.reshape(*x.shape[:-4], -1, x.shape[-1]), x

    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        """Fold the columns of dy back into images."""
        return dy.reshape(memory.shape), {}


class Dropout(Layer):
    """Zero each feature with probability 1 - keep and divide the rest by keep.

    "fixed" draws the same mask at every call, so that the loss is a function; "unseeded" draws
    a fresh one each time, and for each network of a batch; "off" keeps everything.
    """

    def __init__(self, keep: float, mode: DropoutMode, seed: int) -> None:
        self.keep = 1.0 if mode == "off" else keep
        self.mode = mode
        self.seed = seed
        self._rng = np.random.default_rng()

    def forward(self, x: Array, own: Tensors) -> tuple[Array, Array]:
        """Keep the shape (..., F, N) of x; remember the mask, whose entries are 0 or 1/keep."""
        if self.mode == "unseeded":
            draws = self._rng.random(x.shape)
        else:
            draws = np.random.default_rng(self.seed).random(x.shape[-2:])
        mask = (draws < self.keep) / self.keep
        return x * mask, mask

    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        """Apply the mask that forward applied."""
        return dy * memory, {}


class SoftmaxCrossEntropy:
    """The mean over N images of -log(the probability that softmax gives to the label)."""

    def forward(self, scores: Array, labels: Labels) -> tuple[Array, Array]:
        """Take scores (..., classes, N) to losses (...) and probabilities, shaped as scores."""
        shifted = scores - scores.max(axis=-2, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(axis=-2, keepdims=True))
        log_probabilities = shifted - log_sum
        hits = log_probabilities[..., labels, np.arange(len(labels))]
        return -hits.mean(axis=-1), np.exp(log_probabilities)

    def backward(self, probabilities: Array, labels: Labels) -> Array:
        """Return the gradient in the scores, (classes, N)."""
        gradient = probabilities.copy()
        gradient[labels, np.arange(len(labels))] -= 1.0
        return gradient / len(labels)


class WeightDecay:
    """l2/2 times the sum of the squared weights; the biases are free."""

    def __init__(self, l2: float) -> None:
        self.l2 = l2

    def loss(self, params: Parameters) -> Array:
        """Return the losses (...) of parameters with leading axes (...)."""
        total = np.zeros(())
        for own in params.values():
            leading = own["bias"].ndim - 1
            axes = tuple(range(leading, own["weight"].ndim))
            total = total + np.square(own["weight"]).sum(axis=axes)
        return 0.5 * self.l2 * total

    def gradient(self, params: Parameters) -> Parameters:
        """Return the gradient, shaped as ``params``; zero in the biases."""
        return {
            name: {"weight": self.l2 * own["weight"], "bias": np.zeros_like(own["bias"])}
            for name, own in params.items()
        }


def cut_patches(x: Array, before: int = 1) -> Array:
    """Return the 3 x 3 patch around every place of x (..., C, H, W, N) as a column.

    The result is (..., C * 9, H * W * N). Of the two rows and two columns of zeros put around
    an image, ``before`` come first.
    """
    *leading, channels, height, width, images = x.shape
    padded = np.zeros((*leading, channels, height + 2, width + 2, images), x.dtype)
    padded[..., before : before + height, before : before + width, :] = x
    patches = np.empty((*leading, channels, 3, 3, height, width, images), x.dtype)
    for i, j in np.ndindex(3, 3):
        patches[..., i, j, :, :, :] = padded[..., i : i + height, j : j + width, :]
    return patches.reshape(*leading, channels * 9, height * width * images)


def correlate(weight: Array, patches: Array) -> Array:
    """Apply kernels (..., K, C, 3, 3) to patches (..., C * 9, P); the result is (..., K, P)."""
    return weight.reshape(*weight.shape[:-3], -1) @ patches


def split_windows(x: Array) -> list[Array]:
    """Return views of the four corners of x's 2 x 2 windows, row by row.

    x is (..., C, H, W, N), each view (..., C, H/2, W/2, N).
    """
    return [x[..., i::2, j::2, :] for i, j in np.ndindex(2, 2)]
