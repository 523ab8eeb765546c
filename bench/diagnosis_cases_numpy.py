"""Wrong gradients of NumPy functions without layers, and of hand-written layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from bench.diagnosis_case import Bug

import gradproof
from gradproof import Report

__all__ = ["bugs", "network"]

#: Takes the right gradient, and the point, to the wrong gradient.
Bend = Callable[[Any, Any], Any]


def bugs() -> list[Bug]:
    """The cases; the twin of each is the right gradient, or the layer as it should be."""
    return [*_functions(), *_layers()]


def normal(seed: int, *shape: int) -> Any:
    """Normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape)


# -- functions ---------------------------------------------------------------------------------

_ROWS, _GOAL = normal(1, 12, 5), normal(2, 12, 5)
_EARLIER = normal(3, 12, 5), normal(4, 12, 5)
_RATE, _DECAY = 0.05, 0.01


def ridge(x: Any, rows: Any = _ROWS, goal: Any = _GOAL) -> Any:
    """A mean square over 12 rows, and a decay of the weights (5, 5) but not of the bias (5,)."""
    gap = np.tanh(rows @ x["w"] + x["b"]) - goal
    return 0.5 * np.sum(gap**2) / len(rows) + 0.5 * _DECAY * np.sum(x["w"] ** 2)


def ridge_gradient(x: Any, rows: Any = _ROWS, goal: Any = _GOAL) -> Any:
    """Of `ridge`."""
    y = np.tanh(rows @ x["w"] + x["b"])
    back = (y - goal) * (1.0 - y * y) / len(rows)
    return {"w": rows.T @ back + _DECAY * x["w"], "b": back.sum(0)}


def earlier_gradient(x: Any) -> Any:
    """The same for other rows."""
    return ridge_gradient(x, *_EARLIER)


def _check_ridge(gradient: Any) -> Report:
    x = {"w": normal(5, 5, 5), "b": normal(6, 5)}
    known = {
        "the batch size": 12,
        "the learning rate": _RATE,
        "the previous batch's gradient": earlier_gradient,
    }
    return gradproof.check(ridge, x, gradient, known=known)


class _NeverCleared:
    """A gradient that is added up from call to call."""

    def __init__(self) -> None:
        self.total = {"w": np.zeros((5, 5)), "b": np.zeros(5)}

    def __call__(self, x: Any) -> Any:
        right = ridge_gradient(x)
        for name in right:
            self.total[name] += right[name]
        return {name: total.copy() for name, total in self.total.items()}


def _two_terms(gradient: Any) -> Report:
    """A variational loss, the second term of which is known."""
    x = {"mean": normal(7, 6), "log_spread": 0.3 * normal(8, 6)}

    def second(x: Any) -> Any:
        return 0.5 * np.sum(x["mean"] ** 2 + np.exp(2.0 * x["log_spread"]) - 2.0 * x["log_spread"])

    def second_gradient(x: Any) -> Any:
        return {"mean": x["mean"], "log_spread": np.exp(2.0 * x["log_spread"]) - 1.0}

    def first(x: Any) -> Any:
        return np.sum(np.sin(x["mean"] + 0.5 * np.exp(x["log_spread"])))

    def first_gradient(x: Any) -> Any:
        spread = 0.5 * np.exp(x["log_spread"])
        slope = np.cos(x["mean"] + spread)
        return {"mean": slope, "log_spread": slope * spread}

    def claim(x: Any) -> Any:
        one, two = first_gradient(x), second_gradient(x)
        return {name: gradient(one[name], two[name]) for name in x}

    known = {"the divergence's gradient": second_gradient}
    return gradproof.check(lambda x: first(x) + second(x), x, claim, known=known)


def _functions() -> list[Bug]:
    def case(name: str, kinds: str, where: str, bend: Bend) -> Bug:
        def wrong(x: Any) -> Any:
            return ridge_gradient(x) | bend(ridge_gradient(x), x)

        kinds_ = tuple(kinds.split())
        return Bug(name, "numpy", where, kinds_, _check_ridge, wrong, ridge_gradient)

    return [
        case("decay-missing", "missing-term", "w", lambda g, x: {"w": g["w"] - _DECAY * x["w"]}),
        case("decay-doubled", "extra-term", "w", lambda g, x: {"w": g["w"] + _DECAY * x["w"]}),
        case("decay-of-the-bias", "extra-term", "b", lambda g, x: {"b": g["b"] + _DECAY * x["b"]}),
        case("weights-not-averaged", "factor", "w", lambda g, x: {"w": 12.0 * g["w"]}),
        case("learning-rate-inside", "factor", "w", lambda g, x: {"w": _RATE * g["w"]}),
        case("bias-sign", "sign-flip", "b", lambda g, x: {"b": -g["b"]}),
        case("weights-transposed", "transposed", "w", lambda g, x: {"w": g["w"].T}),
        case("bias-of-last-row", "zero block", "b", lambda g, x: {"b": g["b"] * [1, 1, 1, 1, 0]}),
        case("earlier-batch", "stale", "w", lambda g, x: {"w": earlier_gradient(x)["w"]}),
        case(
            "momentum-inside",
            "extra-term",
            "w",
            lambda g, x: {"w": g["w"] + 0.9 * earlier_gradient(x)["w"]},
        ),
        Bug(
            "never-cleared",
            "numpy",
            "w",
            ("accumulated",),
            lambda gradient: _check_ridge(gradient()),
            _NeverCleared,
            lambda: ridge_gradient,
        ),
        Bug(
            "term-forgotten",
            "numpy",
            "mean",
            ("missing-term",),
            _two_terms,
            lambda one, two: one,
            lambda one, two: one + two,
        ),
        Bug(
            "term-twice",
            "numpy",
            "mean",
            ("extra-term",),
            _two_terms,
            lambda one, two: one + 2.0 * two,
            lambda one, two: one + two,
        ),
    ]


# -- hand-written layers -----------------------------------------------------------------------


@dataclass
class Affine:
    """A matrix product and a bias; keeps what backward needs."""

    W: Any
    b: Any

    def forward(self, x: Any) -> Any:
        """Of a batch (N, D)."""
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy: Any) -> Any:
        """The gradients of W and b, and what is returned, that of x."""
        self.dW, self.db = self.x.T @ dy, dy.sum(0)
        return dy @ self.W.T


class AffineTransposed(Affine):
    def backward(self, dy: Any) -> Any:
        dx = super().backward(dy)
        self.dW = self.dW.T
        return dx


class AffineOfGradient(Affine):
    """Takes W for its transpose."""

    def backward(self, dy: Any) -> Any:
        super().backward(dy)
        return dy @ self.W


class AffineTwice(Affine):
    """Adds to the gradient in a loop that should run once."""

    def backward(self, dy: Any) -> Any:
        dx = super().backward(dy)
        self.dW = self.dW + self.x.T @ dy
        return dx


class AffineFirstSample(Affine):
    def backward(self, dy: Any) -> Any:
        dx = super().backward(dy)
        self.db = dy[0]
        return dx


class Relu:
    """Lets through what is positive."""

    def forward(self, x: Any) -> Any:
        """Of any array."""
        self.x = x
        return np.maximum(x, 0.0)

    def backward(self, dy: Any) -> Any:
        """The gradient of x."""
        return dy * (self.x > 0.0)


class ReluEverywhere(Relu):
    def backward(self, dy: Any) -> Any:
        return dy


@dataclass
class BatchNorm:
    """Normalises each column of a batch."""

    gamma: Any
    beta: Any

    def forward(self, x: Any) -> Any:
        """Of a batch (N, D)."""
        self.spread = np.sqrt(x.var(0) + 1e-5)
        self.y = (x - x.mean(0)) / self.spread
        return self.gamma * self.y + self.beta

    def backward(self, dy: Any) -> Any:
        """The gradients of gamma and beta, and what is returned, that of x."""
        self.dgamma, self.dbeta = (dy * self.y).sum(0), dy.sum(0)
        inner = dy * self.gamma
        return (inner - inner.mean(0) - self.y * (inner * self.y).mean(0)) / self.spread


class BatchNormWithoutMean(BatchNorm):
    def backward(self, dy: Any) -> Any:
        super().backward(dy)
        inner = dy * self.gamma
        return (inner - self.y * (inner * self.y).mean(0)) / self.spread


class BatchNormFactor(BatchNorm):
    """The variance of n - 1 in the backward pass."""

    def backward(self, dy: Any) -> Any:
        dx = super().backward(dy)
        return dx * np.sqrt((len(dy) - 1) / len(dy))


def network(
    affine: Any = Affine, relu: Any = Relu, norm: Any = BatchNorm, **options: Any
) -> Report:
    """Affine, ReLU, BatchNorm, affine and a square loss, of which three may be replaced."""
    layers = {
        "affine1": Affine(normal(10, 4, 6), 0.1 * normal(11, 6)),
        "relu": relu(),
        "norm": norm(1.0 + 0.2 * normal(12, 6), 0.1 * normal(13, 6)),
        "affine2": affine(0.5 * normal(14, 6, 6), 0.1 * normal(15, 6)),
    }
    goal = normal(16, 9, 6)

    def loss(y: Any) -> Any:
        return 0.5 * np.sum((np.tanh(y) - goal) ** 2), (np.tanh(y) - goal) / np.cosh(y) ** 2

    report: Report = gradproof.check_layers(layers, normal(17, 9, 4), loss, **options)
    return report


def _layers() -> list[Bug]:
    def case(name: str, kinds: str, where: str, part: str, wrong: Any) -> Bug:
        right = {"affine": Affine, "relu": Relu, "norm": BatchNorm}[part]

        def check(cls: Any) -> Report:
            return network(**{part: cls})

        return Bug(name, "layers", where, tuple(kinds.split()), check, wrong, right)

    return [
        case("affine-weight-transposed", "transposed", "affine2", "affine", AffineTransposed),
        case("affine-input-transposed", "transposed", "affine2", "affine", AffineOfGradient),
        case("affine-weight-twice", "factor", "affine2", "affine", AffineTwice),
        case("affine-first-sample", "not-summed", "affine2", "affine", AffineFirstSample),
        case("relu-everywhere", "mask", "relu", "relu", ReluEverywhere),
        case("batchnorm-mean-missing", "missing-term", "norm", "norm", BatchNormWithoutMean),
        case("batchnorm-other-variance", "factor", "norm", "norm", BatchNormFactor),
    ]
