"""A convolutional network for handwritten digits, with backpropagation by hand.

    conv 3x3 (1 -> 8), ReLU, max-pool, conv 3x3 (8 -> 16), ReLU, max-pool,
    linear (64 -> 32), ReLU, dropout, linear (32 -> 10), softmax cross-entropy + weight decay

3,658 parameters, all in double precision. It is a subject with something to find. The paper
around a digit is exactly zero, so with biases of zero, as at the start, many inputs of the first
ReLU lie exactly on the kink: there the gradient is the one-sided derivative that leaves them at
rest. Flat ink makes exact ties under the first max-pool, where the gradient is exact. And a bug
can be planted in the backward pass. The data set comes with scikit-learn.
"""

from collections.abc import Callable, Iterator
from functools import cache
from operator import itemgetter
from typing import TypeVar

import numpy as np

from gradproof.examples.layers import (
    Array,
    Conv2d,
    Dropout,
    DropoutMode,
    Flatten,
    Labels,
    Layer,
    Linear,
    MaxPool,
    Parameters,
    ReLU,
    SoftmaxCrossEntropy,
    WeightDecay,
)
from gradproof.examples.plants import PLANTS, Plant
from gradproof.subjects.layers.network import Network

__all__ = ["PLANTS", "DigitsCNN", "Plant", "burn_in", "load_images"]

_T = TypeVar("_T")

_WEIGHT_SHAPES = {
    "conv1": (8, 1, 3, 3),
    "conv2": (16, 8, 3, 3),
    "fc1": (32, 64),
    "fc2": (10, 32),
}
# Networks times images evaluated at once: more would not stay in the processor's cache, and their
# arrays would go back to the operating system after every call, which takes as long as the sums.
_AT_ONCE = 256


class DigitsCNN:
    """The loss of the network and its gradient, as functions of the parameters.

    Parameters are nested as ``{"conv1": {"weight": ..., "bias": ...}, "conv2": ..., "fc1": ...,
    "fc2": ...}``; images are (N, 1, 8, 8) and labels (N,). The loss is the sum of the data loss
    (a mean over the images) and of the L2 loss (l2/2 times the squared weights, without the
    biases), and each of the two can be had alone.

    ``seed`` fixes the mask of dropout="fixed". ``plant`` names one of `PLANTS`, a bug to put
    into the gradient; the loss stays right.
    """

    def __init__(
        self,
        *,
        l2: float = 1e-3,
        keep: float = 0.8,
        dropout: DropoutMode = "fixed",
        seed: int = 0,
        plant: str | None = None,
    ) -> None:
        if plant is not None and plant not in PLANTS:
            raise ValueError(f"Expected plant to be one of {[*PLANTS]} but got plant={plant!r}")
        planted = None if plant is None else PLANTS[plant]

        def choose(part: str, sound: type[_T]) -> type[_T]:
            if planted is None or planted.part != part:
                return sound
            assert issubclass(planted.broken, sound)
            return planted.broken

        self._layers: dict[str, Layer] = {
            "conv1": choose("conv1", Conv2d)(),
            "relu1": choose("relu1", ReLU)(),
            "pool1": choose("pool1", MaxPool)(),
            "conv2": choose("conv2", Conv2d)(),
            "relu2": choose("relu2", ReLU)(),
            "pool2": choose("pool2", MaxPool)(),
            "flatten": choose("flatten", Flatten)(),
            "fc1": choose("fc1", Linear)(),
            "relu3": choose("relu3", ReLU)(),
            "dropout": choose("dropout", Dropout)(keep, dropout, seed),
            "fc2": choose("fc2", Linear)(),
        }
        self._cross_entropy = choose("cross_entropy", SoftmaxCrossEntropy)()
        self._l2 = choose("l2", WeightDecay)(l2)

    def initial_parameters(self, rng: np.random.Generator) -> Parameters:
        """Draw weights as He et al. do, with variance 2 / fan-in; the biases are zero."""
        params = {}
        for name, shape in _WEIGHT_SHAPES.items():
            spread = np.sqrt(2.0 / np.prod(shape[1:]))
            params[name] = {
                "weight": spread * rng.standard_normal(shape),
                "bias": np.zeros(shape[0]),
            }
        return params

    def loss(self, params: Parameters, images: Array, labels: Labels) -> float:
        """Return the data loss plus the L2 loss."""
        return self.data_loss(params, images, labels) + self.l2_loss(params)

    def data_loss(self, params: Parameters, images: Array, labels: Labels) -> float:
        """Return the cross-entropy, averaged over the images."""
        return float(self._losses(params, images, labels))

    def l2_loss(self, params: Parameters) -> float:
        """Return l2/2 times the sum of the squared weights."""
        return float(self._l2.loss(params))

    def loss_batch(self, params: Parameters, images: Array, labels: Labels) -> Array:
        """Return the losses (B,) of B networks: every array of ``params`` has a first axis B."""
        return self.data_loss_batch(params, images, labels) + self.l2_loss_batch(params)

    def data_loss_batch(self, params: Parameters, images: Array, labels: Labels) -> Array:
        """Return the data losses (B,) of B networks, evaluated some at a time."""
        count = len(params["fc2"]["bias"])
        length = max(1, _AT_ONCE // len(labels))
        losses = np.empty(count)
        for start in range(0, count, length):
            some = slice(start, start + length)
            chunk = _map(itemgetter(some), params)
            losses[some] = self._losses(chunk, images, labels)
        return losses

    def l2_loss_batch(self, params: Parameters) -> Array:
        """Return the L2 losses (B,) of B networks."""
        return self._l2.loss(params)

    def gradient(self, params: Parameters, images: Array, labels: Labels) -> Parameters:
        """Return the gradient of `loss`, nested as ``params``."""
        return _map(np.add, self.data_gradient(params, images, labels), self.l2_gradient(params))

    def data_gradient(self, params: Parameters, images: Array, labels: Labels) -> Parameters:
        """Return the gradient of `data_loss`, from a forward pass of its own."""
        steps = list(self._run(params, images))
        _, scores, _ = steps[-1]
        _, probabilities = self._cross_entropy.forward(scores, labels)
        dy = self._cross_entropy.backward(probabilities, labels)
        gradients = {}
        for name, _, memory in reversed(steps):
            own = params.get(name, {})
            dy, gradients[name] = self._layers[name].backward(dy, memory, own)
        return {name: gradients[name] for name in params}

    def l2_gradient(self, params: Parameters) -> Parameters:
        """Return the gradient of `l2_loss`."""
        return self._l2.gradient(params)

    def network(self, params: Parameters, images: Array, labels: Labels) -> Network:
        """Return the layers and the data loss as gradproof checks them one by one."""
        return Network(
            {name: (layer, params.get(name, {})) for name, layer in self._layers.items()},
            np.moveaxis(images, 0, -1),
            {"cross_entropy": (self._cross_entropy, labels)},
            constants={
                "the batch size": float(len(labels)),
                "the number of classes": float(len(params["fc2"]["bias"])),
            },
        )

    def _losses(self, params: Parameters, images: Array, labels: Labels) -> Array:
        """Return the data losses (...) of parameters with leading axes (...)."""
        for _, y, _ in self._run(params, images):
            scores = y
        losses, _ = self._cross_entropy.forward(scores, labels)
        return losses

    def _run(self, params: Parameters, images: Array) -> Iterator[tuple[str, Array, Array]]:
        """Yield each layer's name, output and memory, from the images to the scores."""
        x = np.ascontiguousarray(np.moveaxis(images, 0, -1))
        for name, layer in self._layers.items():
            x, memory = layer.forward(x, params.get(name, {}))
            yield name, x, memory


def load_images(count: int, rng: np.random.Generator) -> tuple[Array, Labels]:
    """Draw ``count`` different images (count, 1, 8, 8) and their labels (count,)."""
    images, labels = _load_digits()
    chosen = rng.choice(len(labels), size=count, replace=False)
    return images[chosen], labels[chosen]


def burn_in(
    net: DigitsCNN,
    params: Parameters,
    steps: int,
    rng: np.random.Generator,
    *,
    batch: int = 64,
    learning_rate: float = 0.05,
    momentum: float = 0.9,
) -> tuple[Parameters, list[float]]:
    """Train for some steps of stochastic gradient descent on all the digits.

    Returns the new parameters and, for each step, the loss on its minibatch before the step.
    It follows ``net.gradient`` as it is, planted bug included.
    """
    velocity = _map(np.zeros_like, params)
    losses = []
    for _ in range(steps):
        images, labels = load_images(batch, rng)
        losses.append(net.loss(params, images, labels))
        gradient = net.gradient(params, images, labels)
        velocity = _map(lambda v, g: momentum * v - learning_rate * g, velocity, gradient)
        params = _map(np.add, params, velocity)
    return params, losses


@cache
def _load_digits() -> tuple[Array, Labels]:
    """Return scikit-learn's 1,797 digits, (1797, 1, 8, 8) in [0, 1], and their labels.

    The contrast is stretched fourfold, as for a scan: grey 4 of 16 is full ink already. So
    there are areas of one and the same colour, in the ink and on the paper, and neighbouring
    places of a convolution are exactly equal there.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.clip(digits.images / 4.0, 0.0, 1.0)[:, np.newaxis]
    return images, digits.target.astype(np.int64)


def _map(function: Callable[..., Array], *trees: Parameters) -> Parameters:
    """Apply ``function`` to the corresponding arrays of ``trees``."""
    first = trees[0]
    return {
        name: {key: function(*(tree[name][key] for tree in trees)) for key in own}
        for name, own in first.items()
    }
