"""Hand-written layers in the styles of courses and books, right or wrong on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradproof.subjects.base import Places
from gradproof.subjects.layers.network import Network

Array = NDArray[np.float64]
FEATURES, HIDDEN, CLASSES, ROWS = 4, 5, 3, 6


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def linear_arrays(inputs: int, outputs: int, seed: int) -> tuple[Array, Array]:
    return normal(inputs, outputs, seed=seed), normal(outputs, seed=seed + 100)


class Attributes:
    """W and dW; what is wrong is multiplied by two."""

    def __init__(self, inputs: int, outputs: int, seed: int, wrong: str = "") -> None:
        self.W, self.b = linear_arrays(inputs, outputs, seed)
        self.wrong = wrong

    def forward(self, x: Array) -> Array:
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy: Array) -> Array:
        self.dW = self.x.T @ dy * self.times("W")
        self.db = dy.sum(axis=0) * self.times("b")
        return dy @ self.W.T * self.times("input")

    def times(self, name: str) -> float:
        return 2.0 if name == self.wrong else 1.0


class Words:
    """weight and grad_weight, bias and bias_grad; called in place of a forward pass."""

    def __init__(self, inputs: int, outputs: int, seed: int, wrong: str = "") -> None:
        self.weight, self.bias = linear_arrays(inputs, outputs, seed)
        self.grad_weight: Array | None = None
        self.bias_grad: Array | None = None
        self.wrong = wrong

    def __call__(self, x: Array) -> Array:
        self._cache = x
        return x @ self.weight + self.bias

    def backward(self, dy: Array) -> Array:
        self.grad_weight = self._cache.T @ dy * (1 + (self.wrong == "weight"))
        self.bias_grad = dy.sum(axis=0) * (1 + (self.wrong == "bias"))
        return dy @ self.weight.T * (1 + (self.wrong == "input"))

    def parameters(self, name: str) -> Array:
        """It takes an argument, so that it declares nothing."""
        found: Array = getattr(self, name)
        return found


class Lists:
    """Deep Learning from Scratch 2: lists, whose arrays are written to."""

    def __init__(self, inputs: int, outputs: int, seed: int, wrong: str = "") -> None:
        self.params = [*linear_arrays(inputs, outputs, seed)]
        self.grads = [np.zeros_like(p) for p in self.params]
        self.wrong = wrong

    def forward(self, x: Array) -> Array:
        self.x = x
        y: Array = x @ self.params[0] + self.params[1]
        return y

    def backward(self, dout: Array) -> Array:
        self.grads[0][...] = self.x.T @ dout * (1 + (self.wrong == "params[0]"))
        self.grads[1][...] = dout.sum(axis=0) * (1 + (self.wrong == "params[1]"))
        dx: Array = dout @ self.params[0].T * (1 + (self.wrong == "input"))
        return dx


class NamedLists(Lists):
    """The same, with attributes for the parameters too, which forward uses."""

    def __init__(self, inputs: int, outputs: int, seed: int, wrong: str = "") -> None:
        super().__init__(inputs, outputs, seed, wrong)
        self.W, self.b = self.params

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        self.x = x
        y: Array = x @ self.W + self.b
        return y

    def backward(self, dout: Array) -> Array:
        self.grads[0] = self.x.T @ dout * (1 + (self.wrong == "W"))
        self.grads[1] = dout.sum(axis=0) * (1 + (self.wrong == "b"))
        dx: Array = dout @ self.W.T * (1 + (self.wrong == "input"))
        return dx


class Dicts:
    """params["W"] and grads["W"]; settings are among the parameters."""

    def __init__(self, inputs: int, outputs: int, seed: int, wrong: str = "") -> None:
        weight, bias = linear_arrays(inputs, outputs, seed)
        self.params: dict[str, Any] = {"W": weight, "b": bias, "outputs": outputs, "rate": 0.1}
        self.grads: dict[str, Array] = {}
        self.wrong = wrong

    def forward(self, x: Array) -> Array:
        self.x = x
        y: Array = x @ self.params["W"] + self.params["b"]
        return y

    def backward(self, dy: Array) -> Array:
        self.grads["W"] = self.x.T @ dy * (1 + (self.wrong == "W"))
        self.grads["b"] = dy.sum(axis=0) * (1 + (self.wrong == "b"))
        dx: Array = dy @ self.params["W"].T * (1 + (self.wrong == "input"))
        return dx


class Parameter:
    def __init__(self, data: Array) -> None:
        self.data = data
        self.grad = np.zeros_like(data)


class Objects:
    """Parameters with data and grad, to which backward adds, as in PyTorch."""

    def __init__(self, inputs: int, outputs: int, seed: int, wrong: str = "") -> None:
        self.weight, self.bias = map(Parameter, linear_arrays(inputs, outputs, seed))
        self.wrong = wrong

    def forward(self, x: Array) -> Array:
        self.x = x
        return x @ self.weight.data + self.bias.data

    def backward(self, dy: Array) -> Array:
        self.weight.grad += self.x.T @ dy * (1 + (self.wrong == "weight"))
        self.bias.grad += dy.sum(axis=0) * (1 + (self.wrong == "bias"))
        return dy @ self.weight.data.T * (1 + (self.wrong == "input"))


class ListedObjects(Objects):
    def parameters(self) -> list[Parameter]:
        return [self.weight, self.bias]


class YieldedPairs(Attributes):
    """parameters() yields (value, gradient)."""

    def __init__(self, inputs: int, outputs: int, seed: int, wrong: str = "") -> None:
        super().__init__(inputs, outputs, seed, wrong)
        self.dW, self.db = np.zeros_like(self.W), np.zeros_like(self.b)

    def parameters(self) -> Any:
        yield self.W, self.dW
        yield self.b, self.db


class LeftBehind:
    """Neural Networks from Scratch: results are left in attributes, and training must be said."""

    def __init__(self, inputs: int, outputs: int, seed: int, wrong: str = "") -> None:
        self.weights, biases = linear_arrays(inputs, outputs, seed)
        self.biases = biases[None]
        self.wrong = wrong

    def forward(self, inputs: Array, training: bool) -> None:
        assert training
        self.inputs = inputs
        self.output = inputs @ self.weights + self.biases

    def backward(self, dvalues: Array) -> None:
        self.dweights = self.inputs.T @ dvalues * (1 + (self.wrong == "weights"))
        self.dbiases = dvalues.sum(axis=0, keepdims=True) * (1 + (self.wrong == "biases"))
        self.dinputs = dvalues @ self.weights.T * (1 + (self.wrong == "input"))


def affine_forward(x: Array, w: Array, b: Array) -> tuple[Array, Any]:
    """cs231n."""
    return x @ w + b, (x, w)


def affine_backward(dout: Array, cache: Any) -> tuple[Array, Array, Array]:
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def functions(inputs: int, outputs: int, seed: int, wrong: str = "") -> Any:
    def wrong_backward(dout: Array, cache: Any) -> tuple[Array, ...]:
        claims = affine_backward(dout, cache)
        names = ("input", "w", "b")
        return tuple(c * (1 + (wrong == n)) for n, c in zip(names, claims, strict=True))

    return (affine_forward, wrong_backward, *linear_arrays(inputs, outputs, seed))


def functions_with_dict(inputs: int, outputs: int, seed: int, wrong: str = "") -> Any:
    forward, backward, weight, bias = functions(inputs, outputs, seed, wrong)
    return forward, backward, {"b": bias, "w": weight}


class Memory:
    """gradproof's own demo: the parameters and the memory come from outside."""

    def __init__(self, wrong: str) -> None:
        self.wrong = wrong

    def forward(self, x: Array, own: Mapping[str, Array]) -> tuple[Array, Array]:
        return x @ own["weight"] + own["bias"], x

    def backward(
        self, dy: Array, memory: Array, own: Mapping[str, Array]
    ) -> tuple[Array, dict[str, Array]]:
        claims = {
            "weight": memory.T @ dy * (1 + (self.wrong == "weight")),
            "bias": dy.sum(axis=0) * (1 + (self.wrong == "bias")),
        }
        return dy @ own["weight"].T * (1 + (self.wrong == "input")), claims


def memory(inputs: int, outputs: int, seed: int, wrong: str = "") -> Any:
    weight, bias = linear_arrays(inputs, outputs, seed)
    return Memory(wrong), {"weight": weight, "bias": bias}


class Tanh:
    def forward(self, x: Array) -> Array:
        self.y = np.tanh(x)
        return self.y

    def backward(self, dy: Array) -> Array:
        return dy * (1.0 - self.y**2)


class Block:
    """x + linear(x): layers in a layer."""

    def __init__(self, inputs: int, outputs: int, seed: int, wrong: str = "") -> None:
        where, _, name = wrong.rpartition(".")
        first = Attributes(inputs, inputs, seed, name if where == "steps[0]" else "")
        self.steps: list[Any] = [first, Tanh()]
        self.last = Attributes(inputs, outputs, seed + 1, name if where == "last" else "")
        self.wrong = wrong

    def forward(self, x: Array) -> Array:
        y: Array = x
        for step in self.steps:
            y = step.forward(y)
        return self.last.forward(x + y)

    def backward(self, dy: Array) -> Array:
        dsum = self.last.backward(dy)
        dx = dsum
        for step in reversed(self.steps):
            dx = step.backward(dx)
        return (dx + dsum) * (1 + (self.wrong == "input"))


#: Makers of a linear layer, and the names that it has for its weight and bias.
STYLES: dict[str, tuple[Callable[..., Any], tuple[str, str]]] = {
    "attributes": (Attributes, ("W", "b")),
    "words": (Words, ("weight", "bias")),
    "lists": (Lists, ("params[0]", "params[1]")),
    "named lists": (NamedLists, ("W", "b")),
    "dicts": (Dicts, ("W", "b")),
    "objects": (Objects, ("weight", "bias")),
    "listed objects": (ListedObjects, ("weight", "bias")),
    "yielded pairs": (YieldedPairs, ("W", "b")),
    "left behind": (LeftBehind, ("weights", "biases")),
    "functions": (functions, ("w", "b")),
    "functions with dict": (functions_with_dict, ("w", "b")),
    "memory": (memory, ("weight", "bias")),
}


def softmax_loss(scores: Array, labels: NDArray[np.int64]) -> tuple[float, Array]:
    """cs231n: the mean cross-entropy and its gradient."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    gradient = probabilities.copy()
    gradient[rows, labels] -= 1.0
    return float(-np.log(probabilities[rows, labels]).mean()), gradient / len(labels)


LABELS = np.array([0, 2, 1, 0, 2, 2])
X = normal(ROWS, FEATURES, seed=9)


def network_of(style: str, wrong: str = "") -> Network:
    """A linear layer, tanh, another linear layer whose backward may be wrong, and a loss."""
    make, _ = STYLES[style]
    layers = {
        "first": make(FEATURES, HIDDEN, 1),
        "tanh": Tanh(),
        "second": make(HIDDEN, CLASSES, 2, wrong),
    }
    return Network(layers, X, (softmax_loss, LABELS))


def disagreeing(network: Network) -> list[tuple[str, str]]:
    """Stages and their tensors whose claims differ from central differences."""
    found = []
    for stage in network.stages(network.params):
        subject, grad = stage.open()
        with subject.session():
            for k, (name, claim) in enumerate(
                zip(subject.names, subject.claims(grad), strict=True)
            ):
                index = np.arange(len(claim))
                places = Places(np.full(len(claim), k), index)
                offsets = np.full(len(claim), 1e-6)
                ahead = subject.at_entries(places, offsets)
                behind = subject.at_entries(places, -offsets)
                numeric = (ahead - behind) / 2e-6
                if not np.allclose(claim, numeric, rtol=1e-6, atol=1e-8):
                    found.append((stage.name, name))
    return found
