"""Where jax.test_util.check_grads is wrong: shown first, and then gradproof's answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import test_util
from tests.jax.planted_case import with_jvp, with_vjp

import gradproof
from gradproof import Report

#: Every entry, whatever the default is.
check = partial(gradproof.check, coverage="full")

# jax gives it no types.
check_grads: Any = test_util.check_grads


def passes(report: Report) -> bool:
    assert report.verdict == "pass", report.reason
    return True


def fails(report: Report) -> bool:
    assert report.verdict == "fail", report.reason
    return True


def sine(x: Any) -> Any:
    return jnp.sin(x)


@pytest.mark.parametrize("count", [400, 1000])
def test_zero_jvp_of_a_float32_function_of_hundreds_of_numbers(count: int) -> None:
    x = jnp.linspace(0.1, 1.2, count)
    wrong = with_jvp(sine, lambda args, tangents: 0.0 * tangents[0])
    check_grads(wrong, (x,), 1, modes=("fwd",))
    report = check(wrong, (x,))
    assert fails(report)
    assert report.tensors["x"].counts["mismatch"] == count
    right = with_jvp(sine, lambda args, tangents: jnp.cos(args[0]) * tangents[0])
    assert passes(check(right, (x,)))


def test_not_a_number_equals_not_a_number() -> None:
    x = jnp.array([-1.0, 1.0])
    check_grads(jnp.sqrt, (x,), 1)
    report = check(jnp.sqrt, (x,))
    assert report.verdict != "pass"
    assert "not-finite" in [f.kind for f in report.findings]


def test_a_gradient_of_nan_fails_where_the_value_is_finite() -> None:
    def f(x: Any) -> Any:
        return jnp.where(x > 0, jnp.sqrt(x), 0.0)

    report = check(f, (jnp.array([-1.0, 1.0]),))
    assert fails(report)
    assert "nan" in [f.kind for f in report.findings]


def test_correct_square_at_1000() -> None:
    x = jnp.float32(1e3)
    with pytest.raises(AssertionError):
        check_grads(lambda x: x**2, (x,), 1)
    assert passes(check(lambda x: x**2, (x,)))
    wrong = with_vjp(lambda x: x**2, lambda args, g: (2.01 * args[0] * g,))
    assert fails(check(wrong, (x,)))


INTEGERS: dict[str, tuple[Callable[..., Any], Any]] = {
    "python_integer": (lambda x, n: jnp.sin(x) * n, 3),
    "integer_array": (lambda x, n: jnp.sin(x)[n], np.array([0, 2, 2])),
    "jax_integers": (lambda x, n: jnp.sin(x)[n], jnp.array([0, 2, 2])),
    "boolean_mask": (lambda x, n: jnp.where(n, jnp.sin(x), 0.0), np.array([True, False, True])),
}


@pytest.mark.parametrize(("f", "n"), INTEGERS.values(), ids=INTEGERS.keys())
def test_integer_arguments_are_constants(f: Callable[..., Any], n: Any) -> None:
    x = jnp.array([0.3, 0.7, 1.1])
    with pytest.raises(TypeError):
        check_grads(f, (x, n), 1)
    report = check(f, (x, n))
    assert passes(report)
    assert list(report.tensors) == ["x"]

    wrong = with_vjp(sine, lambda args, g: (2.0 * g * jnp.cos(args[0]),))

    def twice(x: Any, n: Any) -> Any:
        return f(jnp.arcsin(wrong(x)), n)

    assert fails(check(twice, (x, n)))


def test_tolerances_do_not_grow_with_the_array() -> None:
    x = jnp.linspace(0.1, 1.2, 1000)
    wrong = with_jvp(
        sine, lambda args, tangents: (jnp.cos(args[0]) * tangents[0]).at[500].multiply(-1.0)
    )
    check_grads(wrong, (x,), 1, modes=("fwd",))
    report = check(wrong, (x,))
    assert fails(report)
    assert report.tensors["x"].worst is not None
    assert report.tensors["x"].worst.index == (500,)


def test_the_setting_of_double_precision_is_as_it_was() -> None:
    assert not jax.config.jax_enable_x64  # type: ignore[attr-defined]
    check(sine, (jnp.linspace(0.1, 1.2, 4),))
    assert not jax.config.jax_enable_x64  # type: ignore[attr-defined]
    assert jnp.ones(1).dtype == jnp.float32
