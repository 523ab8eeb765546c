"""JAX functions with rules of differentiation that may be bent, and small networks of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gradproof
from gradproof import Report

__all__ = [
    "BATCH",
    "Bend",
    "attention",
    "convolutional",
    "normal",
    "perceptron",
    "pooled",
    "recurrent",
    "ruled",
    "solved",
    "spectral",
    "tangent_ruled",
    "with_dropout",
    "with_norm",
]

#: Takes the right gradients, the cotangent and the arguments to the wrong gradients.
Bend = Callable[[Any, Any, Any], Any]

BATCH, WIDTH, CLASSES = 6, 5, 4


def ruled(of: Callable[..., Any], bend: Bend | None = None) -> Any:
    """A function with a custom_vjp rule, right or bent."""
    function = jax.custom_vjp(of)

    def backward(args: Any, g: Any) -> Any:
        right = jax.vjp(of, *args)[1](g)
        return right if bend is None else bend(right, g, args)

    function.defvjp(lambda *args: (of(*args), args), backward)
    return function


def tangent_ruled(of: Callable[..., Any], forward: Callable[..., Any] | None = None) -> Any:
    """A function with a custom_jvp rule, right or with `forward(arguments, tangents)`."""
    function = jax.custom_jvp(of)

    def rule(args: Any, tangents: Any) -> Any:
        if forward is None:
            return jax.jvp(of, args, tangents)
        return of(*args), forward(args, tangents)

    function.defjvp(rule)
    return function


def normal(seed: int, *shape: int) -> Any:
    """Normal numbers."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


# -- layers ------------------------------------------------------------------------------------


def dense(x: Any, w: Any, b: Any) -> Any:
    return x @ w + b


def relu(x: Any) -> Any:
    return jnp.maximum(x, 0.0)


def swish(x: Any) -> Any:
    return x * jax.nn.sigmoid(x)


def dropout(x: Any, mask: Any) -> Any:
    return x * mask / 0.75


def row_norm(x: Any, scale: Any) -> Any:
    spread = jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return (x - x.mean(-1, keepdims=True)) / spread * scale


def cross_entropy(scores: Any, labels: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], axis=1).mean()


def conv(x: Any, w: Any) -> Any:
    return jax.lax.conv(x, w, (1, 1), "SAME")


def scores(q: Any, k: Any) -> Any:
    return q @ k.T / jnp.sqrt(q.shape[-1])


def softmax(x: Any) -> Any:
    return jax.nn.softmax(x, axis=-1)


def gather(table: Any, tokens: Any) -> Any:
    return table[tokens]


def solve(a: Any, b: Any) -> Any:
    return jnp.linalg.solve(a, b)


def row_maximum(x: Any) -> Any:
    return x.max(-1)


def recurrence(w: Any, x: Any) -> Any:
    return jax.lax.scan(lambda h, u: (jnp.tanh(w @ h + u), None), jnp.zeros(len(w)), x)[0]


def mixed(x: Any, weight: Any) -> Any:
    return x * weight


def root(x: Any) -> Any:
    """Its derivative is NaN for negative numbers: 0 times that of the root."""
    return jnp.where(x > 0.0, jnp.sqrt(x), 0.0)


def safe_root(x: Any) -> Any:
    """The same, differentiable."""
    return jnp.where(x > 0.0, jnp.sqrt(jnp.where(x > 0.0, x, 1.0)), 0.0)


# -- networks ----------------------------------------------------------------------------------


def perceptron(**parts: Any) -> Report:
    """Two dense layers with an activation between; `parts` stand in for theirs."""
    use = {"dense": dense, "act": jnp.tanh, "norm": lambda x: x, "loss": cross_entropy} | parts
    params = {
        "first": {"w": normal(1, 3, WIDTH), "b": 0.1 * normal(2, WIDTH)},
        "second": {"w": normal(3, WIDTH, WIDTH), "b": 0.1 * normal(4, WIDTH)},
        "last": {"w": normal(5, WIDTH, CLASSES), "b": 0.1 * normal(6, CLASSES)},
    }
    images, labels = normal(7, BATCH, 3), jnp.arange(BATCH) % CLASSES

    def network(params: Any) -> Any:
        first, second, last = (params[name] for name in ("first", "second", "last"))
        hidden = use["norm"](use["act"](images @ first["w"] + first["b"]))
        hidden = jnp.tanh(use["dense"](hidden, second["w"], second["b"]))
        return use["loss"](hidden @ last["w"] + last["b"], labels)

    return gradproof.check(network, (params,))


def with_norm(norm: Any) -> Report:
    """A perceptron with a normalisation of its hidden units, the scale of which is fixed."""
    return perceptron(norm=lambda x: norm(x, 1.0 + 0.2 * normal(8, WIDTH)))


def with_dropout(drop: Any) -> Report:
    """A perceptron with dropout behind its first layer."""
    mask = (normal(9, BATCH, WIDTH) > -0.67) * 1.0
    return perceptron(norm=lambda x: drop(x, mask))


def convolutional(conv: Any) -> Report:
    """Two convolutions, the second of which is given."""
    params = {"first": 0.5 * normal(10, 3, 1, 3, 3), "second": 0.5 * normal(11, 3, 3, 3, 3)}
    images = normal(12, 2, 1, 6, 6)

    def network(params: Any) -> Any:
        hidden = jnp.tanh(jax.lax.conv(images, params["first"], (1, 1), "SAME"))
        return jnp.tanh(conv(hidden, params["second"])).mean((2, 3))

    return gradproof.check(network, (params,))


def attention(scores: Any = scores, softmax: Any = softmax, gather: Any = gather) -> Report:
    """One head over embedded tokens, some of which are the same."""
    names = ("q", "k", "v")
    params = {name: 0.5 * normal(13 + i, 8, 8) for i, name in enumerate(names)}
    params["table"] = normal(16, 6, 8)
    tokens, positions = jnp.array([2, 0, 2, 3, 3, 3]), normal(27, 6, 8)

    def network(params: Any) -> Any:
        x = gather(params["table"], tokens) + positions
        q, k, v = (x @ params[name] for name in names)
        return jnp.tanh(softmax(scores(q, k)) @ v).mean(0)

    return gradproof.check(network, (params,))


def solved(solve: Any) -> Report:
    """A linear system in the middle of a function."""
    params = {"a": normal(17, 4, 4) + 4.0 * jnp.eye(4), "b": normal(18, 4)}
    return gradproof.check(
        lambda p: jnp.tanh(solve(jnp.sin(p["a"]) + 4.0 * jnp.eye(4), p["b"])), (params,)
    )


def pooled(row_maximum: Any) -> Report:
    """A maximum of rows in which some entries tie."""
    params = jnp.array([[0.3, 0.9, 0.9], [0.7, 0.2, -0.4], [0.1, 0.5, 0.5]])
    return gradproof.check(lambda x: jnp.tanh(row_maximum(jnp.sin(x))), (params,))


def recurrent(recurrence: Any) -> Report:
    """A recurrent layer over a sequence."""
    params = {"w": 0.5 * normal(19, 4, 4), "into": normal(20, 3, 4), "out": normal(21, 4, 2)}
    steps = normal(22, 5, 3)
    return gradproof.check(lambda p: recurrence(p["w"], steps @ p["into"]) @ p["out"], (params,))


def spectral(mixed: Any) -> Report:
    """A filter in the frequencies, with complex weights."""
    weight = normal(23, 5) + 1j * normal(24, 5)
    params = {"into": normal(25, 3, 8), "filter": weight}
    signals = normal(26, 4, 3)

    def network(params: Any) -> Any:
        amplitudes = jnp.fft.rfft(jnp.tanh(signals @ params["into"]))
        return jnp.fft.irfft(mixed(amplitudes, params["filter"]), n=8)

    return gradproof.check(network, (params,))
