"""Bugs in custom_vjp rules of larger operations: trees, scans, solvers, keys, ties."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tests.jax.planted_case import Plant, normal, with_vjp

Arrays = tuple[Any, ...]


def softmax(x: Any) -> Any:
    return jax.nn.softmax(x, axis=-1)


def softmax_backward(args: Arrays, g: Any, axis: int = -1) -> Arrays:
    y = softmax(args[0])
    return (y * (g - (g * y).sum(axis, keepdims=True)),)


def softmax_diagonal_only(args: Arrays, g: Any) -> Arrays:
    y = softmax(args[0])
    return (g * y * (1 - y),)


def layer_norm(x: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)


def layer_norm_backward(args: Arrays, g: Any) -> Arrays:
    (x,) = args
    y, mean = layer_norm(x), partial(jnp.mean, axis=-1, keepdims=True)
    return ((g - mean(g) - y * mean(g * y)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5),)


def variance_term_missing(args: Arrays, g: Any) -> Arrays:
    (x,) = args
    return ((g - g.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5),)


def cross_entropy(x: Any, labels: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], axis=1).mean()


def cross_entropy_backward(args: Arrays, g: Any) -> Arrays:
    x, labels = args
    return g * (softmax(x) - jax.nn.one_hot(labels, x.shape[1], dtype=x.dtype)) / len(x), None


def batch_mean_missing(args: Arrays, g: Any) -> Arrays:
    gx, _ = cross_entropy_backward(args, g)
    return gx * len(gx), None


def two_layers(params: Any, x: Any) -> Any:
    hidden = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"])
    return hidden @ params["second"]["w"]


def two_layers_backward(args: Arrays, g: Any) -> Arrays:
    params, x = args
    hidden = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"])
    inner = (g @ params["second"]["w"].T) * (1 - hidden**2)
    first = {"w": x.T @ inner, "b": inner.sum(0)}
    return {"first": first, "second": {"w": hidden.T @ g}}, inner @ params["first"]["w"].T


def layers_swapped(args: Arrays, g: Any) -> Arrays:
    gradients, gx = two_layers_backward(args, g)
    first, second = gradients["first"], gradients["second"]
    return {"first": first | {"w": second["w"]}, "second": {"w": first["w"]}}, gx


def activation_forgotten(args: Arrays, g: Any) -> Arrays:
    params, _ = args
    gradients, gx = two_layers_backward(args, g)
    first = gradients["first"] | {"b": (g @ params["second"]["w"].T).sum(0)}
    return gradients | {"first": first}, gx


def gather(table: Any, rows: Any) -> Any:
    return table[rows]


def gather_backward(args: Arrays, g: Any) -> Arrays:
    table, rows = args
    return jnp.zeros_like(table).at[rows].add(g), None


def repeated_rows_overwritten(args: Arrays, g: Any) -> Arrays:
    table, rows = args
    return jnp.zeros_like(table).at[rows].set(g), None


def powers(exponent: int, backward: Any) -> Any:
    """x**exponent, the exponent static: nondiff_argnums."""

    @partial(jax.custom_vjp, nondiff_argnums=(0,))
    def power(n: int, x: Any) -> Any:
        return x**n

    power.defvjp(lambda n, x: (x**n, x), backward)
    return lambda x: power(exponent, x)


def power_backward(n: int, x: Any, g: Any) -> Arrays:
    return (n * x ** (n - 1) * g,)


def exponent_not_lowered(n: int, x: Any, g: Any) -> Arrays:
    return (n * x**n * g,)


def recurrence(w: Any, h: Any) -> Any:
    return jax.lax.scan(lambda h, _: (jnp.tanh(w @ h), None), h, None, length=6)[0]


def recurrence_backward(args: Arrays, g: Any, oldest: int = 0) -> Arrays:
    """Through time, by a scan that runs backwards."""
    w, start = args
    _, later = jax.lax.scan(lambda h, _: (jnp.tanh(w @ h),) * 2, start, None, length=6)
    states = jnp.concatenate([start[None], later])

    def step(carry: Any, pair: Any) -> Any:
        gw, g = carry
        before, after = pair
        g = g * (1 - after**2)
        return (gw + jnp.outer(g, before), w.T @ g), None

    pairs = (states[oldest:-1], states[oldest + 1 :])
    (gw, g), _ = jax.lax.scan(step, (jnp.zeros_like(w), g), pairs, reverse=True)
    return gw, g


def root(x: Any) -> Any:
    """Newton's iteration, until it is there: jax cannot differentiate a while_loop.

    It wanders about where x is negative.
    """

    def is_far(state: Any) -> Any:
        y, count = state
        return (jnp.abs(y * y - x) > 1e-12).any() & (count < 60)

    def step(state: Any) -> Any:
        y, count = state
        return 0.5 * (y + x / y), count + 1

    return jax.lax.while_loop(is_far, step, (jnp.ones_like(x) + x, 0))[0]


def root_backward(args: Arrays, g: Any) -> Arrays:
    return (g / (2 * jnp.sqrt(args[0])),)


def implicit_factor_forgotten(args: Arrays, g: Any) -> Arrays:
    return (g / jnp.sqrt(args[0]),)


def row_maximum(x: Any) -> Any:
    return x.max(-1)


def row_maximum_backward(args: Arrays, g: Any) -> Arrays:
    wins = args[0] == args[0].max(-1, keepdims=True)
    return (g[..., None] * wins / wins.sum(-1, keepdims=True),)


def every_tie_wins(args: Arrays, g: Any) -> Arrays:
    return (g[..., None] * (args[0] == args[0].max(-1, keepdims=True)),)


def complex_product(x: Any, y: Any) -> Any:
    return x * y


def complex_product_backward(args: Arrays, g: Any) -> Arrays:
    # Without a conjugation: JAX's cotangents are linear in the complex numbers.
    return g * args[1], g * args[0]


def conjugated(args: Arrays, g: Any) -> Arrays:
    return g * jnp.conj(args[1]), g * args[0]


def of_pairs(function: Any) -> Any:
    """Complex numbers given as pairs of real ones."""

    def product(x: Any, y: Any) -> Any:
        z = function(x[..., 0] + 1j * x[..., 1], y[..., 0] + 1j * y[..., 1])
        return jnp.stack([z.real, z.imag], -1)

    return product


def extremes(x: Any) -> Arrays:
    return x.min(), {"largest": x.max()}


def extremes_backward(args: Arrays, g: Any) -> Arrays:
    (x,) = args
    return (jnp.zeros_like(x).at[x.argmin()].add(g[0]).at[x.argmax()].add(g[1]["largest"]),)


def outputs_swapped(args: Arrays, g: Any) -> Arrays:
    return extremes_backward(args, (g[1]["largest"], {"largest": g[0]}))


def dropout(x: Any, key: Any) -> Any:
    return x * jax.random.bernoulli(key, 0.75, x.shape) / 0.75


def dropout_backward(args: Arrays, g: Any) -> Arrays:
    x, key = args
    return g * jax.random.bernoulli(key, 0.75, x.shape) / 0.75, None


def mask_drawn_anew(args: Arrays, g: Any) -> Arrays:
    x, key = args
    return dropout_backward((x, jax.random.split(key)[0]), g)


def wrong_keep_probability(args: Arrays, g: Any) -> Arrays:
    x, key = args
    return g * jax.random.bernoulli(key, 0.75, x.shape) / 0.25, None


def solve(a: Any, b: Any) -> Any:
    return jnp.linalg.solve(a, b)


def solve_backward(args: Arrays, g: Any) -> Arrays:
    a, b = args
    of_b = jnp.linalg.solve(a.T, g)
    return -jnp.outer(of_b, solve(a, b)), of_b


def solve_not_transposed(args: Arrays, g: Any) -> Arrays:
    a, b = args
    of_b = jnp.linalg.solve(a, g)
    return -jnp.outer(of_b, solve(a, b)), of_b


def mapped(function: Any) -> Any:
    """A rule for one row, mapped over the batch."""
    return lambda x: jax.vmap(function)(x)


def _matrix() -> Arrays:
    return (normal(4, 3),)


def _nested() -> Arrays:
    first = {"w": normal(4, 4), "b": normal(4, seed=1)}
    return {"first": first, "second": {"w": normal(4, 4, seed=2)}}, normal(3, 4, seed=3)


def _key() -> Arrays:
    return normal(3, 4), jax.random.key(7)


def _raw_key() -> Arrays:
    return normal(3, 4), jax.random.PRNGKey(7)


SOFTMAX = with_vjp(softmax, softmax_backward)
TWO_LAYERS = with_vjp(two_layers, two_layers_backward)
DROPOUT = with_vjp(dropout, dropout_backward)

PLANTS = (
    Plant(
        "softmax_wrong_axis",
        SOFTMAX,
        with_vjp(softmax, partial(softmax_backward, axis=0)),
        _matrix,
        ("x",),
    ),
    Plant(
        "softmax_diagonal_only", SOFTMAX, with_vjp(softmax, softmax_diagonal_only), _matrix, ("x",)
    ),
    Plant(
        "inside_vmap",
        mapped(SOFTMAX),
        mapped(with_vjp(softmax, softmax_diagonal_only)),
        _matrix,
        ("x",),
    ),
    Plant(
        "layernorm_variance_term",
        with_vjp(layer_norm, layer_norm_backward),
        with_vjp(layer_norm, variance_term_missing),
        _matrix,
        ("x",),
    ),
    Plant(
        "batch_mean_missing",
        with_vjp(cross_entropy, cross_entropy_backward),
        with_vjp(cross_entropy, batch_mean_missing),
        lambda: (normal(4, 3), np.array([0, 2, 1, 1])),
        ("x",),
    ),
    Plant(
        "layers_swapped",
        TWO_LAYERS,
        with_vjp(two_layers, layers_swapped),
        _nested,
        ("params.first.w", "params.second.w"),
    ),
    Plant(
        "activation_forgotten",
        TWO_LAYERS,
        with_vjp(two_layers, activation_forgotten),
        _nested,
        ("params.first.b",),
    ),
    Plant(
        "repeated_rows_overwritten",
        with_vjp(gather, gather_backward),
        with_vjp(gather, repeated_rows_overwritten),
        lambda: (normal(4, 3), np.array([2, 0, 2, 3, 3, 3])),
        ("table",),
    ),
    Plant(
        "exponent_not_lowered",
        powers(3, power_backward),
        powers(3, exponent_not_lowered),
        _matrix,
        ("x",),
    ),
    Plant(
        "time_truncated",
        with_vjp(recurrence, recurrence_backward),
        with_vjp(recurrence, partial(recurrence_backward, oldest=4)),
        lambda: (normal(4, 4), normal(4, seed=1)),
        ("w", "h"),
    ),
    Plant(
        "implicit_factor_forgotten",
        with_vjp(root, root_backward),
        with_vjp(root, implicit_factor_forgotten),
        lambda: (jnp.array([2.0, 0.3, 5.0]),),
        ("x",),
    ),
    Plant(
        "every_tie_wins",
        with_vjp(row_maximum, row_maximum_backward),
        with_vjp(row_maximum, every_tie_wins),
        lambda: (jnp.array([[1.0, 3.0, 3.0], [2.0, 0.5, -1.0]]),),
        ("x",),
    ),
    Plant(
        "conjugated",
        of_pairs(with_vjp(complex_product, complex_product_backward)),
        of_pairs(with_vjp(complex_product, conjugated)),
        lambda: (normal(3, 2), normal(3, 2, seed=1)),
        ("x",),
    ),
    Plant(
        "outputs_swapped",
        with_vjp(extremes, extremes_backward),
        with_vjp(extremes, outputs_swapped),
        lambda: (normal(5),),
        ("x",),
    ),
    Plant("dropout_mask_drawn_anew", DROPOUT, with_vjp(dropout, mask_drawn_anew), _key, ("x",)),
    Plant(
        "dropout_wrong_keep_probability",
        DROPOUT,
        with_vjp(dropout, wrong_keep_probability),
        _raw_key,
        ("x",),
    ),
    Plant(
        "solve_not_transposed",
        with_vjp(solve, solve_backward),
        with_vjp(solve, solve_not_transposed),
        lambda: (normal(4, 4) + 4.0 * jnp.eye(4), normal(4, seed=1)),
        ("a", "b"),
    ),
)
