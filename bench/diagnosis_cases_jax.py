"""Wrong rules of differentiation of JAX functions, each in a small network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from bench.diagnosis_case import Bug

import gradproof
from gradproof import Report

__all__ = ["bugs"]

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


# -- bugs --------------------------------------------------------------------------------------


def bugs() -> list[Bug]:
    """The cases; the twin of each has the rule as it should be."""
    return [*_layers(), *_models(), *_tangents()]


def _bug(name: str, kinds: str, check: Callable[[Any], Report], of: Any, bend: Bend) -> Bug:
    where = of.__name__
    return Bug(name, "jax", where, tuple(kinds.split()), check, ruled(of, bend), ruled(of))


def _layers() -> list[Bug]:
    def with_dense(function: Any) -> Report:
        return perceptron(dense=function)

    def with_act(function: Any) -> Report:
        return perceptron(act=function)

    def without_variance(_: Any, g: Any, args: Any) -> Any:
        x, scale = args
        inner = g * scale
        spread = jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return (inner - inner.mean(-1, keepdims=True)) / spread, jnp.zeros_like(scale)

    return [
        _bug(
            "dense-weight-sign", "sign-flip", with_dense, dense, lambda r, *_: (r[0], -r[1], r[2])
        ),
        _bug(
            "dense-bias-averaged",
            "factor not-summed",
            with_dense,
            dense,
            lambda r, g, _: (*r[:2], g.mean(0)),
        ),
        _bug(
            "dense-weight-transposed",
            "transposed",
            with_dense,
            dense,
            lambda r, *_: (r[0], r[1].T, r[2]),
        ),
        _bug(
            "dense-last-row-lost",
            "zero block",
            with_dense,
            dense,
            lambda r, *_: (r[0], r[1].at[-1].set(0.0), r[2]),
        ),
        _bug(
            "relu-mask-shifted", "mask", with_act, relu, lambda r, g, args: (g * (args[0] > 0.2),)
        ),
        _bug(
            "swish-in-half-precision",
            "precision",
            with_act,
            swish,
            lambda r, *_: (r[0].astype(jnp.float16).astype(r[0].dtype),),
        ),
        _bug(
            "dropout-not-backward", "mask", with_dropout, dropout, lambda r, g, _: (g / 0.75, r[1])
        ),
        _bug("row-norm-variance-missing", "missing-term", with_norm, row_norm, without_variance),
        _bug(
            "loss-not-averaged",
            "factor",
            lambda function: perceptron(loss=function),
            cross_entropy,
            lambda r, g, _: (BATCH * r[0], r[1]),
        ),
        _bug(
            "loss-clipped",
            "clipped",
            lambda function: perceptron(loss=function),
            cross_entropy,
            lambda r, g, _: (jnp.clip(r[0], -0.1, 0.1), r[1]),
        ),
    ]


def _models() -> list[Bug]:
    def not_turned(r: Any, g: Any, args: Any) -> Any:
        return jax.lax.conv(g, args[1].swapaxes(0, 1), (1, 1), "SAME"), r[1]

    def overwritten(r: Any, g: Any, args: Any) -> Any:
        return jnp.zeros_like(args[0]).at[args[1]].set(g), r[1]

    def not_transposed(_: Any, g: Any, args: Any) -> Any:
        a, b = args
        of_b = jnp.linalg.solve(a, g)
        return -jnp.outer(of_b, solve(a, b)), of_b

    def every_tie(_: Any, g: Any, args: Any) -> Any:
        return (g[..., None] * (args[0] == args[0].max(-1, keepdims=True)),)

    def truncated(r: Any, g: Any, args: Any) -> Any:
        return r[0], r[1].at[:2].set(0.0)

    return [
        _bug("conv-kernel-not-flipped", "flipped-kernel", convolutional, conv, not_turned),
        _bug(
            "scores-not-scaled",
            "factor",
            lambda f: attention(scores=f),
            scores,
            lambda r, *_: tuple(x * jnp.sqrt(8.0) for x in r),
        ),
        _bug(
            "softmax-sum-missing",
            "missing-term",
            lambda f: attention(softmax=f),
            softmax,
            lambda r, g, args: (g * softmax(args[0]),),
        ),
        _bug(
            "tokens-overwritten",
            "block not-summed",
            lambda f: attention(gather=f),
            gather,
            overwritten,
        ),
        _bug("solve-not-transposed", "transposed", solved, solve, not_transposed),
        _bug("maximum-to-every-tie", "kink-inconsistent", pooled, row_maximum, every_tie),
        _bug("recurrence-truncated", "zero block", recurrent, recurrence, truncated),
        _bug(
            "filter-conjugated",
            "conjugate",
            spectral,
            mixed,
            lambda r, *_: (r[0], jnp.conj(r[1])),
        ),
    ]


def _tangents() -> list[Bug]:
    """Rules by custom_jvp, and derivatives that are wrong without any rule."""

    def act(name: str, kinds: str, of: Any, forward: Callable[..., Any]) -> Bug:
        return Bug(
            name,
            "jax",
            of.__name__,
            tuple(kinds.split()),
            lambda function: perceptron(act=function),
            tangent_ruled(of, forward),
            tangent_ruled(of),
        )

    def gated(x: Any) -> Any:
        return x * jax.lax.stop_gradient(jax.nn.sigmoid(x))

    return [
        act(
            "swish-halved",
            "factor",
            swish,
            lambda args, tangents: 0.5 * jax.jvp(swish, args, tangents)[1],
        ),
        act(
            "relu-straight-through",
            "identity mask",
            relu,
            lambda args, tangents: tangents[0],
        ),
        Bug(
            "gate-stopped",
            "jax",
            "stop_gradient",
            ("zero",),
            lambda function: perceptron(act=function),
            gated,
            swish,
        ),
        Bug(
            "root-of-negative",
            "jax",
            "sqrt",
            ("nan",),
            lambda function: perceptron(act=function),
            root,
            safe_root,
        ),
        act(
            "root-rule-of-negative",
            "nan",
            safe_root,
            lambda args, tangents: (
                jnp.where(args[0] > 0.0, 1.0, 0.0) * 0.5 / jnp.sqrt(args[0]) * tangents[0]
            ),
        ),
    ]
