"""Bugs in custom_vjp rules of a dense layer and of the sine: signs, factors, axes, entries."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from tests.jax.planted_case import Plant, normal, with_vjp

Arrays = tuple[Any, ...]


@jax.jit
def dense(x: Any, w: Any, b: Any) -> Any:
    return x @ w.T + b


@jax.jit
def dense_backward(args: Arrays, g: Any) -> Arrays:
    x, w, _ = args
    return g @ w, g.T @ x, g.sum(0)


def sign_flipped(args: Arrays, g: Any) -> Arrays:
    gx, gw, gb = dense_backward(args, g)
    return gx, -gw, gb


def doubled(args: Arrays, g: Any) -> Arrays:
    gx, gw, gb = dense_backward(args, g)
    return 2 * gx, gw, gb


def halved(args: Arrays, g: Any) -> Arrays:
    gx, gw, gb = dense_backward(args, g)
    return gx, gw, gb / 2


def divided_by_batch(args: Arrays, g: Any) -> Arrays:
    gx, gw, gb = dense_backward(args, g)
    return gx, gw / len(g), gb / len(g)


def bias_not_summed(args: Arrays, g: Any) -> Arrays:
    gx, gw, _ = dense_backward(args, g)
    return gx, gw, g[0]


def transposed(args: Arrays, g: Any) -> Arrays:
    gx, gw, gb = dense_backward(args, g)
    return gx, gw.T, gb


def swapped(args: Arrays, g: Any) -> Arrays:
    gx, gw, gb = dense_backward(args, g)
    return gw, gx, gb


def row_zeroed(args: Arrays, g: Any) -> Arrays:
    gx, gw, gb = dense_backward(args, g)
    return gx, gw.at[-1].set(0.0), gb


def element_off(args: Arrays, g: Any) -> Arrays:
    gx, gw, gb = dense_backward(args, g)
    return gx, gw.at[1, 2].multiply(1.0001), gb


def none_for_weight(args: Arrays, g: Any) -> Arrays:
    gx, _, gb = dense_backward(args, g)
    return gx, None, gb


def sine_backward(args: Arrays, g: Any) -> Arrays:
    return (g * jnp.cos(args[0]),)


def one_of_a_thousand_off(args: Arrays, g: Any) -> Arrays:
    (gx,) = sine_backward(args, g)
    return (gx.at[617].multiply(1.0001),)


def cross_talk(args: Arrays, g: Any) -> Arrays:
    (gx,) = sine_backward(args, g)
    return (gx.at[404].add(1e-3 * gx[403]),)


def cast_to_half(args: Arrays, g: Any) -> Arrays:
    (gx,) = sine_backward(args, g)
    return (gx.astype(jnp.float16).astype(gx.dtype),)


def cast_to_bfloat(args: Arrays, g: Any) -> Arrays:
    (gx,) = sine_backward(args, g)
    return (gx.astype(jnp.bfloat16).astype(gx.dtype),)


def clipped(args: Arrays, g: Any) -> Arrays:
    (gx,) = sine_backward(args, g)
    return (jnp.clip(gx, -0.5, 0.5),)


def _layer() -> Arrays:
    return normal(5, 4), normal(3, 4, seed=1), normal(3, seed=2)


def _square() -> Arrays:
    return normal(4, 4), normal(4, 4, seed=1), normal(4, seed=2)


def _matrix() -> Arrays:
    return (normal(4, 3),)


def _thousand() -> Arrays:
    return (normal(1000),)


DENSE = with_vjp(dense, dense_backward)
SINE = with_vjp(jnp.sin, sine_backward)

PLANTS = (
    Plant("sign_flipped", DENSE, with_vjp(dense, sign_flipped), _layer, ("w",)),
    Plant("doubled", DENSE, with_vjp(dense, doubled), _layer, ("x",)),
    Plant("halved", DENSE, with_vjp(dense, halved), _layer, ("b",)),
    Plant("divided_by_batch", DENSE, with_vjp(dense, divided_by_batch), _layer, ("w", "b")),
    Plant("bias_not_summed", DENSE, with_vjp(dense, bias_not_summed), _layer, ("b",)),
    Plant("transposed", DENSE, with_vjp(dense, transposed), _square, ("w",)),
    Plant("inputs_swapped", DENSE, with_vjp(dense, swapped), _square, ("x", "w")),
    Plant("row_zeroed", DENSE, with_vjp(dense, row_zeroed), _layer, ("w",)),
    Plant("element_off_by_1e-4", DENSE, with_vjp(dense, element_off), _layer, ("w",)),
    Plant("none_for_a_gradient", DENSE, with_vjp(dense, none_for_weight), _layer, ("w",)),
    Plant("inside_jit", jax.jit(DENSE), jax.jit(with_vjp(dense, halved)), _layer, ("b",)),
    Plant(
        "one_of_a_thousand_off_by_1e-4",
        SINE,
        with_vjp(jnp.sin, one_of_a_thousand_off),
        _thousand,
        ("x",),
    ),
    Plant("cross_talk", SINE, with_vjp(jnp.sin, cross_talk), _thousand, ("x",)),
    Plant("cast_to_float16", SINE, with_vjp(jnp.sin, cast_to_half), _matrix, ("x",)),
    Plant("cast_to_bfloat16", SINE, with_vjp(jnp.sin, cast_to_bfloat), _matrix, ("x",)),
    Plant("gradient_clipped", SINE, with_vjp(jnp.sin, clipped), _matrix, ("x",)),
)
