"""Wrong rules of differentiation of JAX functions, each in a small network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from bench.diagnosis_case import Bug
from bench.diagnosis_jax_networks import (
    BATCH,
    Bend,
    attention,
    conv,
    convolutional,
    cross_entropy,
    dense,
    dropout,
    gather,
    mixed,
    perceptron,
    pooled,
    recurrence,
    recurrent,
    relu,
    root,
    row_maximum,
    row_norm,
    ruled,
    safe_root,
    scores,
    softmax,
    solve,
    solved,
    spectral,
    swish,
    tangent_ruled,
    with_dropout,
    with_norm,
)

from gradproof import Report

__all__ = ["bugs"]


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
