"""Bugs planted in the backward passes of `digits_cnn`: mistakes that people make.

Each is one layer of the network replaced by a subclass that is right but for its backward.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from gradproof.examples.layers import (
    Array,
    Conv2d,
    Dropout,
    Flatten,
    Labels,
    Linear,
    MaxPool,
    Parameters,
    ReLU,
    SoftmaxCrossEntropy,
    Tensors,
    WeightDecay,
    correlate,
    cut_patches,
    split_windows,
)

__all__ = ["PLANTS", "Plant"]


class KernelNotFlipped(Conv2d):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        dx, gradients = super().backward(dy, memory, own)
        return correlate(own["weight"].swapaxes(0, 1), cut_patches(dy)).reshape(dx.shape), gradients


class PaddingOffByOne(Conv2d):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        centres = memory.reshape(-1, 9, *dy.shape[1:])[:, 4]
        return super().backward(dy, cut_patches(centres, before=2), own)


class TransposedKernel(Conv2d):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        dx, gradients = super().backward(dy, memory, own)
        return dx, gradients | {"weight": gradients["weight"].swapaxes(2, 3)}


class LastChannelForgotten(Conv2d):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        dx, gradients = super().backward(dy, memory, own)
        gradients["weight"][-1] = 0.0
        return dx, gradients


class BiasNotSummed(Conv2d):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        dx, gradients = super().backward(dy, memory, own)
        return dx, gradients | {"bias": dy[..., 0].sum(axis=(1, 2))}


class StaleCache(Conv2d):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        by_image = memory.reshape(len(memory), -1, dy.shape[-1])
        stale = np.zeros_like(by_image)
        stale[..., 1:] = by_image[..., :-1]
        return super().backward(dy, stale.reshape(memory.shape), own)


class AccumulatedTwice(Conv2d):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        dx, gradients = super().backward(dy, memory, own)
        return dx + dx, gradients


class MaskOfWrongArray(ReLU):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        return dy * (dy > 0.0), {}


class EveryTieWins(MaxPool):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        largest, _ = self.forward(memory, own)
        dx = np.zeros_like(memory)
        for view, corner in zip(split_windows(dx), split_windows(memory), strict=True):
            view[...] = np.where(corner == largest, dy, 0.0)
        return dx, {}


class WrongPlaceWins(MaxPool):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        dx, _ = super().backward(dy, memory, own)
        misplaced = dx.copy()
        misplaced[:, 0::2, 1::2] = dx[:, 1::2, 0::2]
        misplaced[:, 1::2, 0::2] = dx[:, 0::2, 1::2]
        return misplaced, {}


class FlattenTransposed(Flatten):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        channels, height, width, images = memory.shape
        return dy.reshape(channels, width, height, images).swapaxes(1, 2), {}


class DropoutNotBackward(Dropout):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        return dy, {}


class DropoutScaleMissing(Dropout):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        return dy * (memory > 0.0), {}


class BiasSignFlipped(Linear):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        dx, gradients = super().backward(dy, memory, own)
        return dx, gradients | {"bias": -gradients["bias"]}


class OneEntryOff(Linear):
    def backward(self, dy: Array, memory: Array, own: Tensors) -> tuple[Array, Tensors]:
        dx, gradients = super().backward(dy, memory, own)
        weight = gradients["weight"]
        weight.flat[np.argmax(np.abs(weight))] *= 1.01
        return dx, gradients


class MeanForgotten(SoftmaxCrossEntropy):
    def backward(self, probabilities: Array, labels: Labels) -> Array:
        return super().backward(probabilities, labels) * len(labels)


class DecayForgotten(WeightDecay):
    def gradient(self, params: Parameters) -> Parameters:
        return WeightDecay(0.0).gradient(params)


class DecayDoubled(WeightDecay):
    def gradient(self, params: Parameters) -> Parameters:
        return WeightDecay(2.0 * self.l2).gradient(params)


@dataclass(frozen=True)
class Plant:
    """A bug in the backward pass.

    ``tensors`` are those whose gradient it makes wrong, ``part`` is the part of the network in
    which the error enters, and ``broken`` is the class that stands in for that part.
    """

    description: str
    tensors: tuple[str, ...]
    part: str
    broken: type[object]


_CONV1 = ("conv1.weight", "conv1.bias")
_CONV2 = ("conv2.weight", "conv2.bias")
_FC1 = ("fc1.weight", "fc1.bias")
_FC2 = ("fc2.weight", "fc2.bias")
_WEIGHTS = ("conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight")

PLANTS: Mapping[str, Plant] = MappingProxyType(
    {
        "accumulated-twice": Plant(
            "conv2 adds its input's gradient twice", _CONV1, "conv2", AccumulatedTwice
        ),
        "bias-not-summed": Plant(
            "conv2's bias gradient counts the first image only",
            ("conv2.bias",),
            "conv2",
            BiasNotSummed,
        ),
        "dropout-not-backward": Plant(
            "dropout's backward lets everything through, unmasked and unscaled",
            _CONV1 + _CONV2 + _FC1,
            "dropout",
            DropoutNotBackward,
        ),
        "dropout-scale-missing": Plant(
            "dropout's backward masks, but does not divide by keep",
            _CONV1 + _CONV2 + _FC1,
            "dropout",
            DropoutScaleMissing,
        ),
        "flatten-transposed": Plant(
            "flatten's backward takes height for width",
            _CONV1 + _CONV2,
            "flatten",
            FlattenTransposed,
        ),
        "kernel-not-flipped": Plant(
            "conv2's input gradient uses its kernels without turning them",
            _CONV1,
            "conv2",
            KernelNotFlipped,
        ),
        "l2-doubled": Plant(
            "the weight decay's gradient is 2 l2 w, though the loss is l2 w^2 / 2",
            _WEIGHTS,
            "l2",
            DecayDoubled,
        ),
        "last-channel-forgotten": Plant(
            "conv2's weight gradient is summed for all output channels but the last",
            ("conv2.weight",),
            "conv2",
            LastChannelForgotten,
        ),
        "maxpool-to-every-tie": Plant(
            "pool1 sends the gradient to every place that equals the largest, not to one",
            _CONV1,
            "pool1",
            EveryTieWins,
        ),
        "maxpool-wrong-place": Plant(
            "pool2's backward takes row for column inside the window",
            _CONV1 + _CONV2,
            "pool2",
            WrongPlaceWins,
        ),
        "missing-batch-mean": Plant(
            "the cross-entropy's gradient is summed over the images, not averaged",
            _CONV1 + _CONV2 + _FC1 + _FC2,
            "cross_entropy",
            MeanForgotten,
        ),
        "missing-l2": Plant(
            "the weight decay is in the loss, but not in the gradient",
            _WEIGHTS,
            "l2",
            DecayForgotten,
        ),
        "one-entry": Plant(
            "the largest entry of fc1's weight gradient is 1 % too large",
            ("fc1.weight",),
            "fc1",
            OneEntryOff,
        ),
        "padding-off-by-one": Plant(
            "conv1's weight gradient pads its images by two before and none after",
            ("conv1.weight",),
            "conv1",
            PaddingOffByOne,
        ),
        "relu-mask-from-wrong-array": Plant(
            "relu2's backward asks where the gradient is positive, not where the input was",
            _CONV1 + _CONV2,
            "relu2",
            MaskOfWrongArray,
        ),
        "sign-flipped-bias": Plant(
            "fc1's bias gradient has the wrong sign", ("fc1.bias",), "fc1", BiasSignFlipped
        ),
        "stale-cache": Plant(
            "conv2's weight gradient finds, for each image, the patches of the image before",
            ("conv2.weight",),
            "conv2",
            StaleCache,
        ),
        "transposed-weight": Plant(
            "conv2's weight gradient has its kernels' rows and columns exchanged",
            ("conv2.weight",),
            "conv2",
            TransposedKernel,
        ),
    }
)
