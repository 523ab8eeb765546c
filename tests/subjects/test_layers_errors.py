"""What does not fit is said in one message that names the layer."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
import pytest
from tests.subjects.hand_written import (
    CLASSES,
    FEATURES,
    LABELS,
    Array,
    Attributes,
    Memory,
    Tanh,
    X,
    affine_backward,
    affine_forward,
    normal,
    softmax_loss,
)

import gradproof
from gradproof.subjects.layers.network import Network

LOSS = (softmax_loss, LABELS)
LINEAR = Attributes(FEATURES, CLASSES, 1)


class WrongShape(Tanh):
    def backward(self, dy: Array) -> Array:
        return dy.T


class Nothing(Tanh):
    def backward(self, dy: Array) -> Any:
        return None


class TwoOutputs(Tanh):
    def forward(self, x: Array) -> Any:
        return x, x


class WrongBias(Attributes):
    def backward(self, dy: Array) -> Array:
        dx = super().backward(dy)
        self.db = dy.sum(axis=0)[:, None]
        return dx


class Elsewhere(Attributes):
    """Declares its parameters, and keeps gradients under a name that nobody knows."""

    def __init__(self, inputs: int, outputs: int, seed: int) -> None:
        super().__init__(inputs, outputs, seed)
        self.params = [self.W, self.b]

    def backward(self, dy: Array) -> Array:
        self.slopes = [self.x.T @ dy, dy.sum(axis=0)]
        return dy @ self.W.T


class TwoInputs(Tanh):
    def forward(self, x: Array, other: Array) -> Array:  # type: ignore[override]
        return x + other


class LearningRate(Tanh):
    def backward(self, dy: Array, rate: float) -> Array:  # type: ignore[override]
        return dy


class Locked(Tanh):
    def __init__(self) -> None:
        self.lock = Lock()


class FewerGradients(Attributes):
    def __init__(self) -> None:
        super().__init__(FEATURES, CLASSES, 1)
        self.params, self.grads = [self.W, self.b], [np.zeros_like(self.W)]


class Opaque(Tanh):
    def parameters(self) -> list[object]:
        return [object()]


def no_cache(x: Array, *own: Array) -> Any:
    return x


def only_dx(dout: Array, cache: Any) -> Any:
    return affine_backward(dout, cache)[:2]


W, B = normal(FEATURES, CLASSES), normal(CLASSES)
LAYERS: dict[str, tuple[Any, str]] = {
    "backward of another shape": (
        {"first": LINEAR, "odd": WrongShape()},
        r"layers\['odd'\].backward to return dx of shape \(6, 3\) but got shape \(3, 6\)",
    ),
    "no dx": (
        {"first": LINEAR, "odd": Nothing()},
        r"layers\['odd'\].backward to return dx of shape \(6, 3\) but got None",
    ),
    "two outputs": (
        [LINEAR, TwoOutputs()],
        r"layers\[1\].forward to return one array of real numbers but got a tuple of array",
    ),
    "a parameter's gradient of another shape": (
        {"fc": WrongBias(FEATURES, CLASSES, 1)},
        r"layers\['fc'\].backward to leave a gradient of b of shape \(3,\) but got shape \(3, 1\)",
    ),
    "gradients nowhere": (
        [Elsewhere(FEATURES, CLASSES, 1)],
        r"layers\[0\].backward to leave gradients of W, b in grads .* but found none",
    ),
    "two inputs": (
        [LINEAR, TwoInputs()],
        r"layers\[1\].forward to take the input alone but it wants other too",
    ),
    "a learning rate": (
        [LINEAR, LearningRate()],
        r"layers\[1\].backward to take the output's gradient alone but it wants dy, rate",
    ),
    "what cannot be copied": (
        [LINEAR, Locked()],
        r"layers that copy.deepcopy can copy, .* but got layers\[1\]: cannot pickle",
    ),
    "fewer gradients than parameters": (
        [FewerGradients()],
        "as many gradients in grads as parameters, 2, but got a list of array",
    ),
    "opaque parameters": (
        [LINEAR, Opaque()],
        "each of parameters to be an array with a gradient in grads, .* but got an object",
    ),
    "a class": ([Attributes], r"a layer but got the class layers\[0\]=Attributes"),
    "no layer": ([LINEAR, 3.0], r"layers\[1\] to be an object with forward.* but got an object"),
    "a function without cache": (
        {"affine": (no_cache, affine_backward, W, B)},
        r"layers\['affine'\]'s forward function to return \(out, cache\) but got array \(6, 4\)",
    ),
    "too few gradients": (
        {"affine": (affine_forward, only_dx, W, B)},
        r"layers\['affine'\]'s backward function to return dx and the gradients of w, b but got",
    ),
    "gradients of other names": (
        {"fc": (Memory(""), {"weight": W, "bias": B, "gain": B})},
        r"layers\['fc'\].backward to return gradients of weight, bias, gain but got weight, bias",
    ),
    "no layers": ([], r"at least one layer but got layers=\[\]"),
    "one layer": (LINEAR, "a list or dict of layers but got layers="),
    "no parameters": ([Tanh()], r"parameters with gradients in at least one layer .* in tanh1"),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layers_that_do_not_fit_are_named(case: str) -> None:
    layers, message = LAYERS[case]
    x = X[:, :CLASSES] if case == "no parameters" else X
    with pytest.raises(gradproof.InputError, match=message):
        Network(layers, x, LOSS)


class MeanForgotten(Tanh):
    """A loss per row."""

    def forward(self, x: Array) -> Any:
        return x.sum(axis=1)


class Greedy(Tanh):
    def forward(self, x: Array) -> Any:
        return x.sum()

    def backward(self, one: Array, two: Array, three: Array) -> Array:  # type: ignore[override]
        return one


LOSSES: dict[str, tuple[Any, str]] = {
    "a loss per row": (MeanForgotten(), r"loss to make one number but got array \(6,\)"),
    "no gradient": (np.sum, r"loss to return \(value, gradient in the scores\) but got an object"),
    "a gradient of another shape": (
        lambda y: (np.sum(y), np.ones(3)),
        r"loss.backward to return dx of shape \(6, 3\) but got shape \(3,\)",
    ),
    "backward that wants too much": (
        Greedy(),
        "loss.backward to take nothing, or what forward takes, but it wants one, two, three",
    ),
    "no loss": (None, r"loss to be an object with forward\(scores\) .* but got None"),
    "two losses": ({"a": LOSS, "b": LOSS}, "one loss but got loss="),
}


@pytest.mark.parametrize("case", LOSSES)
def test_losses_that_do_not_fit_are_named(case: str) -> None:
    loss, message = LOSSES[case]
    with pytest.raises(gradproof.InputError, match=message):
        Network([LINEAR], X, loss)


@pytest.mark.parametrize("x", [[1.0, 2.0], np.zeros((0, 4)), np.array(["a"]), None])
def test_an_input_that_is_no_array_of_numbers_is_refused(x: Any) -> None:
    with pytest.raises(gradproof.InputError, match="an array of numbers but got x="):
        Network([LINEAR], x, LOSS)
