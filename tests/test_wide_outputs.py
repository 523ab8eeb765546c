"""Outputs of very different size behind one random cotangent: none hides another."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from gradproof import check
from gradproof.examples.layers import Array
from gradproof.subjects import cotangent
from gradproof.subjects.cotangent import draw_cotangent

X = np.array([1.0, 0.7, -0.4, 1.3])
A = np.random.default_rng(0).normal(size=(3, 4))
SIZES = np.array([1e12, 1.0, 1.0])


def at_work(x: Array) -> Array:
    return np.asarray(np.sin(A @ x) * SIZES)


def jacobian_at_work(x: Array) -> Array:
    return np.asarray((np.cos(A @ x) * SIZES)[:, None] * A)


def steep_at_zero(x: Array) -> Array:
    """An output of slope 1e12 that is 0 at the point."""
    return np.array([1e12 * (x[0] - 1.0) * x[1], x[1] * x[2], np.sin(x[3])])


def jacobian_steep(x: Array) -> Array:
    first = [1e12 * x[1], 1e12 * (x[0] - 1.0), 0.0, 0.0]
    return np.array([first, [0.0, x[2], x[1], 0.0], [0.0, 0.0, 0.0, np.cos(x[3])]])


def zero_by_accident(x: Array) -> Array:
    return np.array([1e-14 * x[0] + np.sin(np.pi * x[0]), x[1] * x[2], np.sin(x[3])])


def jacobian_zero(x: Array) -> Array:
    first = [1e-14 + np.pi * np.cos(np.pi * x[0]), 0.0, 0.0, 0.0]
    return np.array([first, [0.0, x[2], x[1], 0.0], [0.0, 0.0, 0.0, np.cos(x[3])]])


each_function = pytest.mark.parametrize(
    ("f", "jacobian"),
    [
        (at_work, jacobian_at_work),
        (steep_at_zero, jacobian_steep),
        (zero_by_accident, jacobian_zero),
    ],
)


@each_function
@pytest.mark.parametrize("wrong", [None, 0, 1, 2])
def test_a_wrong_row_of_the_jacobian_is_seen_whatever_its_size(
    f: Callable[[Array], Array], jacobian: Callable[[Array], Array], wrong: int | None
) -> None:
    def claim(x: Array, weights: Array) -> Array:
        rows = jacobian(x)
        if wrong is not None:
            rows[wrong] *= 1.01
        return np.asarray(weights @ rows)

    for seed in range(3):
        report = check(f, X, claim, seed=seed)
        assert report.verdict == ("pass" if wrong is None else "fail"), report.reason


def test_without_a_look_beside_the_point_it_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cotangent, "FARTHER_APART", cotangent.APART)

    def claim(x: Array, weights: Array) -> Array:
        return np.asarray(weights @ (jacobian_at_work(x) * [[1.0], [1.01], [1.0]]))

    assert check(at_work, X, claim).verdict == "pass"


def test_outputs_of_like_size_cost_no_more_evaluation() -> None:
    def beside() -> Array:
        raise AssertionError("it was called")

    rng = np.random.default_rng(0)
    assert draw_cotangent(np.array([1.0, -2.0, 300.0]), rng, beside).shape == (3,)


def test_outputs_without_values_beside_are_weighted_as_before() -> None:
    output = np.array([1e12, 1.0, 0.0])
    expected = draw_cotangent(output, np.random.default_rng(0))
    there: Array | None
    for there in (None, np.full(3, np.nan), np.ones(2)):
        found = draw_cotangent(output, np.random.default_rng(0), partial(_given, there))
        assert found.tolist() == expected.tolist()


def _given(there: Array | None) -> Array | None:
    return there


@pytest.mark.parametrize("wrong", [0, 1])
def test_pytorchs_outputs_are_weighted_alike(wrong: int) -> None:
    torch: Any = pytest.importorskip("torch")

    class Sized(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any, size: float, factor: float) -> Any:
            ctx.save_for_backward(x)
            ctx.numbers = size * factor
            return size * x.sin()

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            (x,) = ctx.saved_tensors
            return ctx.numbers * gradient * x.cos(), None, None

    def f(x: Any) -> Any:
        factors = [1.01 if k == wrong else 1.0 for k in range(2)]
        return {
            "large": Sized.apply(x, 1e12, factors[0]),
            "small": Sized.apply(x, 1.0, factors[1]),
        }

    x = torch.tensor([0.3, 1.1, -0.8], dtype=torch.float64, requires_grad=True)
    assert check(f, x).verdict == "fail"


@pytest.mark.parametrize("wrong", [0, 1])
def test_jaxs_outputs_are_weighted_alike(wrong: int) -> None:
    jax: Any = pytest.importorskip("jax")
    assert "jax" in sys.modules

    def claim(x: Any, weights: Any) -> Any:
        factors = [1.01 if k == wrong else 1.0 for k in range(2)]
        large, small = weights
        slopes = 1e12 * factors[0] * large + factors[1] * small
        return slopes * jax.numpy.cos(x)

    def f(x: Any) -> Any:
        return 1e12 * jax.numpy.sin(x), jax.numpy.sin(x)

    report = check(f, jax.numpy.array([0.3, 1.1, -0.8]), claim)
    assert report.verdict == "fail"
