"""Bugs in custom_jvp rules, and in plain functions that jax differentiates to the letter."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from tests.jax.planted_case import Plant, normal, with_jvp

Arrays = tuple[Any, ...]


def product(x: Any, y: Any) -> Any:
    return x * jnp.sin(y)


def product_tangent(args: Arrays, tangents: Arrays) -> Any:
    (x, y), (dx, dy) = args, tangents
    return dx * jnp.sin(y) + x * jnp.cos(y) * dy


def sign_flipped(args: Arrays, tangents: Arrays) -> Any:
    (x, y), (dx, dy) = args, tangents
    return dx * jnp.sin(y) - x * jnp.cos(y) * dy


def term_missing(args: Arrays, tangents: Arrays) -> Any:
    (_, y), (dx, _) = args, tangents
    return dx * jnp.sin(y)


def tangents_swapped(args: Arrays, tangents: Arrays) -> Any:
    return product_tangent(args, tangents[::-1])


def scale_off(args: Arrays, tangents: Arrays) -> Any:
    """0.09 % too much, which jax's own tolerances let pass."""
    return product_tangent(args, (1.0009 * tangents[0], tangents[1]))


def softplus_plain(x: Any) -> Any:
    return jnp.logaddexp(x, 0.0)


def softplus_tangent(args: Arrays, tangents: Arrays) -> Any:
    return jax.nn.sigmoid(args[0]) * tangents[0]


def softplus_overflowing(args: Arrays, tangents: Arrays) -> Any:
    return jnp.exp(args[0]) / (1 + jnp.exp(args[0])) * tangents[0]


def leaky(x: Any) -> Any:
    return jnp.where(x > 0, x, 0.2 * x)


def leaky_tangent(args: Arrays, tangents: Arrays) -> Any:
    return jnp.where(args[0] > 0, 1.0, 0.2) * tangents[0]


def slope_forgotten(args: Arrays, tangents: Arrays) -> Any:
    return (args[0] > 0) * tangents[0]


def mask_shifted(args: Arrays, tangents: Arrays) -> Any:
    return jnp.where(args[0] > 0.2, 1.0, 0.2) * tangents[0]


def mean_square(params: Any, x: Any) -> Any:
    return jnp.mean((x @ params["w"] - params["b"]) ** 2)


def mean_square_tangent(args: Arrays, tangents: Arrays) -> Any:
    return jax.jvp(mean_square, args, tangents)[1]


def mean_forgotten(args: Arrays, tangents: Arrays) -> Any:
    params, x = args
    dp, dx = tangents
    residual = x @ params["w"] - params["b"]
    of_bias = -2 * (residual * dp["b"]).sum()
    rest = jax.jvp(mean_square, args, ({"w": dp["w"], "b": jnp.zeros_like(dp["b"])}, dx))[1]
    return rest + of_bias


def detached(x: Any) -> Any:
    return x * jax.lax.stop_gradient(jax.nn.sigmoid(x))


def attached(x: Any) -> Any:
    return x * jax.nn.sigmoid(x)


def double_where(x: Any) -> Any:
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)


def single_where(x: Any) -> Any:
    return jnp.where(x > 0, jnp.sqrt(x), 0.0)


def quotient(x: Any, y: Any) -> Any:
    return x / y


def quotient_tangent(args: Arrays, tangents: Arrays) -> Any:
    (x, y), (dx, dy) = args, tangents
    return dx / y - x / y**2 * dy


def square_forgotten(args: Arrays, tangents: Arrays) -> Any:
    (x, y), (dx, dy) = args, tangents
    return dx / y - x / y * dy


def scanned(function: Any) -> Any:
    """The rule inside the body of a scan."""

    def chain(x: Any, y: Any) -> Any:
        return jax.lax.scan(lambda c, y: (function(c, y), None), x, y)[0]

    return chain


def _two() -> Arrays:
    return normal(4, 3), normal(4, 3, seed=1)


def _matrix() -> Arrays:
    return (normal(4, 3),)


def _parameters() -> Arrays:
    return {"w": normal(3, 2), "b": normal(2, seed=1)}, normal(4, 3, seed=2)


PRODUCT = with_jvp(product, product_tangent)
LEAKY = with_jvp(leaky, leaky_tangent)

PLANTS = (
    Plant("tangent_sign_flipped", PRODUCT, with_jvp(product, sign_flipped), _two, ("y",)),
    Plant("tangent_term_missing", PRODUCT, with_jvp(product, term_missing), _two, ("y",)),
    Plant("tangents_swapped", PRODUCT, with_jvp(product, tangents_swapped), _two, ("x", "y")),
    Plant("tangent_0.09_percent_off", PRODUCT, with_jvp(product, scale_off), _two, ("x",)),
    Plant(
        "softplus_overflows",
        with_jvp(softplus_plain, softplus_tangent),
        with_jvp(softplus_plain, softplus_overflowing),
        lambda: (jnp.array([-800.0, 0.3, 2.0, 800.0]),),
        ("x",),
    ),
    Plant("negative_slope_forgotten", LEAKY, with_jvp(leaky, slope_forgotten), _matrix, ("x",)),
    Plant("mask_shifted", LEAKY, with_jvp(leaky, mask_shifted), _matrix, ("x",)),
    Plant(
        "mean_forgotten_for_the_bias",
        with_jvp(mean_square, mean_square_tangent),
        with_jvp(mean_square, mean_forgotten),
        _parameters,
        ("params.b",),
    ),
    Plant("sub_expression_detached", attached, detached, _matrix, ("x",)),
    Plant("single_where", double_where, single_where, _matrix, ("x",)),
    Plant(
        "rule_inside_a_scan",
        scanned(with_jvp(quotient, quotient_tangent)),
        scanned(with_jvp(quotient, square_forgotten)),
        lambda: (jnp.array([1.5, -0.4]), normal(5, 2, seed=3) + 3.0),
        ("y",),
    ),
)
